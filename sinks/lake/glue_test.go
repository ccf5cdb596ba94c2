//go:build linux

package lake_test

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
)

// road stands between the lake and moto: it knows the order of the calls, and can refuse those of Glue.
type road struct {
	*httptest.Server
	mu      sync.Mutex
	calls   []string // of Glue: the operation; of S3: "file" and its name when it becomes visible
	refused int      // so many calls that change a table are refused
	seen    func()   // called before a file becomes visible
}

func newRoad(t *testing.T) *road {
	t.Helper()
	at, err := url.Parse(moto.Settings.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	through, own := httputil.NewSingleHostReverseProxy(at), &http.Transport{}
	through.Transport = own
	r := &road{seen: func() {}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, operation, _ := strings.Cut(q.Header.Get("X-Amz-Target"), ".")
		r.mu.Lock()
		switch {
		case operation != "":
			r.calls = append(r.calls, operation)
		case q.Method == http.MethodPost && q.URL.Query().Has("uploadId"):
			r.calls = append(r.calls, "file "+q.URL.Path)
			r.seen()
		}
		no := r.refused > 0 && (operation == "CreateTable" || operation == "UpdateTable")
		if no {
			r.refused--
		}
		r.mu.Unlock()
		if no {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"__type": "AccessDeniedException", "message": "not authorized"})
			return
		}
		through.ServeHTTP(w, q)
	}))
	t.Cleanup(func() { r.Close(); own.CloseIdleConnections() })
	return r
}

// knownToGlue is a lake in a bucket and a database of its own, and Glue as anybody asks it.
func knownToGlue(t *testing.T, r *road) (lake.Config, *glue.Client) {
	t.Helper()
	c := inMoto(t)
	c.AWS.Endpoint = r.URL
	c.Athena = &athena.Settings{Database: "d" + strings.ToLower(rand.Text())}
	of, err := awsconfig.Load(t.Context(), moto.Settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(awsconfig.Connections(&of, 1, 0))
	client := glue.NewFromConfig(of)
	if _, err := client.CreateDatabase(t.Context(), &glue.CreateDatabaseInput{DatabaseInput: &types.DatabaseInput{Name: &c.Athena.Database}}); err != nil {
		t.Fatal(err)
	}
	return c, client
}

// columnsInGlue gives the columns of a table or view as Glue has them; nil: it has none of that name.
func columnsInGlue(t *testing.T, client *glue.Client, database, name string) []string {
	t.Helper()
	found, err := client.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: &database, Name: &name})
	if err != nil {
		return nil
	}
	var out []string
	for _, c := range found.Table.StorageDescriptor.Columns {
		out = append(out, aws.ToString(c.Name)+" "+aws.ToString(c.Type))
	}
	return out
}

// wider are rows of games with one column more, and one that is wider.
func wider(t *testing.T, id int64) *record.Batch {
	t.Helper()
	s, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "Title", Kind: record.String, Nullable: true},
		record.Field{Name: "year", Kind: record.Int64, Nullable: true}, record.Field{Name: "Price", Kind: record.Float64, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(s, 1)
	b.Int(0, id)
	b.Null(1)
	b.Int(2, 1)
	b.Null(3)
	b.Next()
	b.System().EventTimes = append(b.System().EventTimes, 20_000*day)
	b.System().Versions.Lo = append(b.System().Versions.Lo, uint64(id)) //nolint:gosec // small
	b.System().Source = "test"
	return b.Batch(nil)
}

// TestGlueKnowsFirst: whenever a file becomes visible, Glue has all of its columns already, and so has the view.
func TestGlueKnowsFirst(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	c, client := knownToGlue(t, r)
	var known [][]string // by Glue, at each file
	r.seen = func() {
		known = append(known, slices.Concat(columnsInGlue(t, client, c.Athena.Database, "games"), columnsInGlue(t, client, c.Athena.Database, "games_latest")))
	}
	l := open(t, c)
	lane := sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1}
	commit(t, l, lane, 1, games(t, 0, 10, 1))
	commit(t, l, lane, 2, wider(t, 10))
	commit(t, l, lane, 3, wider(t, 11))
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	with := func(at int, columns ...string) bool {
		return !slices.ContainsFunc(columns, func(c string) bool {
			n := 0
			for _, k := range known[at] {
				if k == c {
					n++
				}
			}
			return n != 2 // in the table and in the view
		})
	}
	if len(known) < 3 || !with(0, "title string", "year int", "_version string") || !with(len(known)-1, "title string", "year bigint", "price double") {
		t.Fatalf("%q", known)
	}
	files := slices.DeleteFunc(slices.Clone(r.calls), func(c string) bool { return !strings.HasPrefix(c, "file ") && c != "CreateTable" && c != "UpdateTable" })
	for i := range files {
		files[i], _, _ = strings.Cut(files[i], " ")
	}
	if files = slices.Compact(files); !slices.Equal(files, []string{"CreateTable", "file", "UpdateTable", "file"}) {
		t.Errorf("%q", r.calls)
	}
}

// TestGlueIsToldAgain: the process that described the new column to the lake could not tell Glue. Nothing becomes visible until one can.
func TestGlueIsToldAgain(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	c, client := knownToGlue(t, r)
	lane := sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1}
	l := open(t, c)
	commit(t, l, lane, 1, games(t, 0, 10, 1))
	r.refused = 1
	w, err := l.Open(t.Context(), lane)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), wider(t, 10)); fault.Code(err) != "ACQ-AWS-005" || !strings.Contains(err.Error(), "glue:UpdateTable") {
		t.Fatal(err)
	}
	if m, err := w.Cut(sinks.Group{Ordinal: 2, To: "9"}).Stage(t.Context()); err != nil || len(m.Files) > 0 {
		t.Fatal(m, err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if has := columnsInGlue(t, client, c.Athena.Database, "games"); slices.Contains(has, "price double") {
		t.Errorf("%q", has)
	}
	again := open(t, c) // as the next incarnation does
	lane.Epoch = 2
	commit(t, again, lane, 2, wider(t, 10))
	if has := columnsInGlue(t, client, c.Athena.Database, "games"); !slices.Contains(has, "price double") {
		t.Errorf("%q", has)
	}
	for _, one := range []*lake.Lake{l, again} {
		if err := one.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestGlueStopsOneStream: another's table has the name. That concerns this stream alone.
func TestGlueStopsOneStream(t *testing.T) {
	t.Parallel()
	c, client := knownToGlue(t, newRoad(t))
	name := "games"
	if _, err := client.CreateTable(t.Context(), &glue.CreateTableInput{DatabaseName: &c.Athena.Database, TableInput: &types.TableInput{
		Name: &name, TableType: aws.String("EXTERNAL_TABLE"), StorageDescriptor: &types.StorageDescriptor{Location: aws.String("s3://elsewhere/games/")},
	}}); err != nil {
		t.Fatal(err)
	}
	l := open(t, c)
	err := l.Declare(t.Context(), []*record.Schema{gamesSchema(t)})
	if fault.Code(err) != athena.CodeRefused || !fault.Concerns(err, "games") || fault.Of(err) != fault.Fatal {
		t.Error(err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestGlueIsChecked: check --connect finds that the database is missing, before anything is written.
func TestGlueIsChecked(t *testing.T) {
	t.Parallel()
	c := inMoto(t)
	c.Athena = &athena.Settings{Database: "nothing_" + strings.ToLower(rand.Text())}
	if _, err := c.Check(t.Context()); fault.Code(err) != "ACQ-ATHENA-001" || !strings.Contains(err.Error(), "acequia tables apply") {
		t.Error(err)
	}
	l, err := lake.New(t.Context(), c, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Declare(t.Context(), []*record.Schema{gamesSchema(t)}); fault.Code(err) != "ACQ-ATHENA-001" {
		t.Error(err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestUnseenRows: rows that Athena would not see are told of once, and others are not.
func TestUnseenRows(t *testing.T) {
	t.Parallel()
	for first, want := range map[string]int{"": 0, "2024-10-04": 0, "2024-10-05": 1} { // the rows are of 2024-10-04
		c, _ := knownToGlue(t, newRoad(t))
		c.Athena.FirstDay = first
		var said strings.Builder
		l, err := lake.New(t.Context(), c, 0, slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		lane := sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1}
		commit(t, l, lane, 1, games(t, 0, 10, 1))
		commit(t, l, lane, 2, games(t, 10, 20, 1))
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(said.String(), "dt=2024-10-04"); n != want || n != strings.Count(said.String(), "Athena does not look") {
			t.Errorf("first_day %q: %s", first, said.String())
		}
	}
}
