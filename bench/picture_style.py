"""How charts look where the reader's system is dark: bars keep their colours, text, grid and ground change. No I/O."""

STYLE = (
    "<style>@media(prefers-color-scheme:dark){text{fill:#e6edf2}"
    '[fill="#555"]{fill:#a9bac7}[fill="#ffffff"]{fill:#12181e}'
    '[stroke="#e4e4e4"]{stroke:#33404b}[stroke="#555"]{stroke:#a9bac7}}</style>'
)
