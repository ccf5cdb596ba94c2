//go:build cgo
package query
import ("testing";"time";"fmt";"github.com/duckdb/duckdb-go/v2/mapping")
func TestTheory(t *testing.T) {
 var db mapping.Database; var c mapping.Connection
 mapping.Open("",&db); mapping.Connect(db,&c)
 var p mapping.PreparedStatement
 mapping.Prepare(c,"SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000000) c",&p)
 var r mapping.Result
 mapping.Query(c,"BEGIN TRANSACTION READ ONLY",&r); mapping.DestroyResult(&r)
 var pend mapping.PendingResult
 fmt.Println(mapping.PendingPrepared(p,&pend))
 time.Sleep(20*time.Millisecond)
 mapping.DestroyPending(&pend)
 go func(){ time.Sleep(2*time.Second); mapping.Interrupt(c) }()
 t0:=time.Now()
 fmt.Println(mapping.Query(c,"ROLLBACK",&r), mapping.ResultError(&r), time.Since(t0))
 fmt.Println(mapping.Query(c,"ROLLBACK",&r), mapping.ResultError(&r), time.Since(t0))
}
