// How the page is built: one script, one style sheet, relative addresses. `npm run dev` forwards the API to an instance.

import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: {
    outDir: "built",
    target: ["chrome123", "firefox125", "safari17.5"],
    assetsInlineLimit: 4096,
    modulePreload: false,
    reportCompressedSize: false,
    license: { fileName: "licenses.md" },
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: { "^/api/": "http://127.0.0.1:8080" } },
});
