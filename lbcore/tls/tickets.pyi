from lbcore.state.region import Region

class TicketKeys:
    def __init__(self, region: Region) -> None: ...
