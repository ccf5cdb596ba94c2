package bench

import (
	"testing"

	"github.com/acequia-io/acequia/internal/parquet/parquettest"
)

func BenchmarkPostgresFill(b *testing.B) {
	s := startPostgres(b)
	s.fillFlights(b)
	s.fillGenerated(b, "lineitem_2m", parquettest.NewLineitem(parquettest.NoSystem), lineitemColumns, lineitemKey, 2_000_000)
	s.fillGenerated(b, "lineitem", parquettest.NewLineitem(parquettest.NoSystem), lineitemColumns, lineitemKey, 6_000_000)
	s.fillGenerated(b, "orders_1m", parquettest.NewOrders(parquettest.NoSystem), ordersColumns, ordersKey, 1_000_000)
	s.fillGenerated(b, "orders_20m", parquettest.NewOrders(parquettest.NoSystem), ordersColumns, ordersKey, 20_000_000)
}
