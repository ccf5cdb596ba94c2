package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"strings"
)

//go:embed static
var static embed.FS

// StaticPath is where Static is to be mounted.
const StaticPath = "/static/"

//nolint:gochecknoglobals // a constant table: the address of each file
var assets = addresses(static)

// addresses gives each file an address with a hash of its content.
func addresses(files fs.FS) map[string]string {
	out := map[string]string{}
	names, err := fs.Glob(files, "static/*")
	if err != nil {
		return out
	}
	for _, name := range names {
		if text, err := fs.ReadFile(files, name); err == nil {
			sum := sha256.Sum256(text)
			name = strings.TrimPrefix(name, "static/")
			out[name] = StaticPath + name + "?v=" + hex.EncodeToString(sum[:6])
		}
	}
	return out
}

// Asset gives the address of a static file. It holds a hash of the content, so that it may be kept for ever.
func Asset(name string) string {
	if address, ok := assets[name]; ok {
		return address
	}
	return StaticPath + name
}

// Static serves the files that Asset names.
func Static() http.Handler {
	files := http.FileServerFS(static)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, ok := assets[strings.TrimPrefix(r.URL.Path, StaticPath)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Del("Vary")
		if strings.HasSuffix(address, "?"+r.URL.RawQuery) { // an old address must not keep the new content for ever
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		h.Set("X-Content-Type-Options", "nosniff")
		files.ServeHTTP(w, r)
	})
}
