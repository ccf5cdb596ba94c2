package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"

	"github.com/go-chi/chi/v5"
)

//go:embed assets
var assetFiles embed.FS

// assetPath gives the address of a file of this package, with a hash of its content, so that it may be kept for ever.
func assetPath(name string) string {
	text, err := assetFiles.ReadFile("assets/" + name)
	if err != nil {
		return "/web/" + name
	}
	sum := sha256.Sum256(text)
	return "/web/" + name + "?v=" + hex.EncodeToString(sum[:6])
}

// asset serves what assetPath names.
func asset(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("v") {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeFileFS(w, r, assetFiles, "assets/"+chi.URLParam(r, "file"))
}
