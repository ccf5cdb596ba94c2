package page

import (
	"context"
	"net/http"
	"strconv"
	"strings"
)

type lettersKey struct{}

// countLetters counts dead letters up to a number.
type countLetters func(ctx context.Context, most int) (int, error)

// mostLetters is from where on the navigation says only that there are many.
const mostLetters = 1000

// WithLetters makes the pages link to the dead letters, with their number. Programs that post JSON get no page.
func WithLetters(count func(ctx context.Context, most int) (int, error)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || !strings.Contains(r.Header.Get("Content-Type"), "json") {
				r = r.WithContext(context.WithValue(r.Context(), lettersKey{}, countLetters(count)))
			}
			next.ServeHTTP(w, r)
		})
	}
}

// lettersOf counts for the navigation. A count that fails shows none: the page itself can still be read.
func lettersOf(ctx context.Context) string {
	count, ok := ctx.Value(lettersKey{}).(countLetters)
	if !ok {
		return ""
	}
	n, err := count(ctx, mostLetters)
	switch {
	case err != nil:
		return "?"
	case n >= mostLetters:
		return strconv.Itoa(mostLetters-1) + "+"
	}
	return strconv.Itoa(n)
}
