// Package cinema declares the nine tables of a cinema chain in its three databases, and which of them become items.
package cinema

import (
	"cmp"
	"slices"

	"github.com/acequia-io/acequia/record"
)

// The databases, as backups, reports and the API name them.
const (
	MySQL      = "mysql"
	PostgreSQL = "postgresql"
	MongoDB    = "mongodb"
)

// Table is a table or collection.
type Table struct {
	Database string
	Name     string
	Key      []string
	Columns  []record.Field
	Items    string  // name of its items table; "": it goes to the lake alone
	Indexes  []Index // of the items
}

// Index finds items by a column. Of a list it is each of the elements: a film has several genres, so it has an entry under each.
type Index struct {
	Name, Column string
	Each         bool
}

// Schema is the schema of the table's records.
func (t Table) Schema() (*record.Schema, error) { return record.NewSchema(t.Name, t.Key, t.Columns...) }

// Of gives the tables of a database.
func Of(database string) []Table {
	return slices.DeleteFunc(Tables(), func(t Table) bool { return t.Database != database })
}

// Items gives the tables that become items, by the name of the items.
func Items() []Table {
	out := slices.DeleteFunc(Tables(), func(t Table) bool { return t.Items == "" })
	slices.SortFunc(out, func(a, b Table) int { return cmp.Compare(a.Items, b.Items) })
	return out
}

// Tables gives all of them. Money has two places; what a database keeps as a moment is a moment, and the times of a programme,
// which hang on the walls of its cinema, have no zone.
func Tables() []Table { return slices.Concat(rooms(), people(), films()) }

// rooms are the tables of MySQL: where something is shown, and when.
func rooms() []Table {
	return []Table{
		{
			Database: MySQL, Name: "rooms", Key: []string{"room_id"},
			Columns: []record.Field{
				{Name: "room_id", Kind: record.Int32},
				{Name: "name", Kind: record.String},
				{Name: "screen_type", Kind: record.String},
				{Name: "capacity", Kind: record.Int32},
				{Name: "updated_at", Kind: record.Timestamp},
			},
			Items: "cinema-rooms", Indexes: []Index{{Name: "by_screen_type", Column: "screen_type"}},
		},
		{
			Database: MySQL, Name: "seats", Key: []string{"seat_id"},
			Columns: []record.Field{
				{Name: "seat_id", Kind: record.Int32},
				{Name: "room_id", Kind: record.Int32},
				{Name: "seat_row", Kind: record.String},
				{Name: "seat_number", Kind: record.Int32},
				{Name: "seat_type", Kind: record.String},
				{Name: "updated_at", Kind: record.Timestamp},
			},
		},
		{
			Database: MySQL, Name: "schedules", Key: []string{"schedule_id"},
			Columns: []record.Field{
				{Name: "schedule_id", Kind: record.Int64},
				{Name: "room_id", Kind: record.Int32},
				{Name: "movie_id", Kind: record.String},
				{Name: "starts_at", Kind: record.LocalTimestamp},
				{Name: "language", Kind: record.String, Nullable: true},
				{Name: "price", Kind: record.Decimal, Precision: 8, Scale: 2},
				{Name: "updated_at", Kind: record.Timestamp},
			},
		},
	}
}

// people are the tables of PostgreSQL: who comes, and what they pay.
func people() []Table {
	return []Table{
		{
			Database: PostgreSQL, Name: "users", Key: []string{"user_id"},
			Columns: []record.Field{
				{Name: "user_id", Kind: record.Int64},
				{Name: "email", Kind: record.String},
				{Name: "full_name", Kind: record.String},
				{Name: "phone", Kind: record.String, Nullable: true},
				{Name: "created_at", Kind: record.Timestamp},
				{Name: "updated_at", Kind: record.Timestamp},
			},
			Items: "cinema-users", Indexes: []Index{{Name: "by_email", Column: "email"}},
		},
		{
			Database: PostgreSQL, Name: "reservations", Key: []string{"reservation_id"},
			Columns: []record.Field{
				{Name: "reservation_id", Kind: record.String},
				{Name: "user_id", Kind: record.Int64},
				{Name: "schedule_id", Kind: record.Int64},
				{Name: "movie_id", Kind: record.String},
				{Name: "status", Kind: record.String},
				{Name: "total", Kind: record.Decimal, Precision: 10, Scale: 2},
				{Name: "created_at", Kind: record.Timestamp},
				{Name: "updated_at", Kind: record.Timestamp},
			},
			Items: "cinema-reservations", Indexes: []Index{{Name: "by_user", Column: "user_id"}, {Name: "by_movie", Column: "movie_id"}},
		},
		{
			Database: PostgreSQL, Name: "reserved_seats", Key: []string{"reservation_id", "seat_id"},
			Columns: []record.Field{
				{Name: "reservation_id", Kind: record.String},
				{Name: "seat_id", Kind: record.Int32},
				{Name: "price", Kind: record.Decimal, Precision: 8, Scale: 2},
				{Name: "updated_at", Kind: record.Timestamp},
			},
		},
		{
			Database: PostgreSQL, Name: "payments", Key: []string{"payment_id"},
			Columns: []record.Field{
				{Name: "payment_id", Kind: record.Int64},
				{Name: "reservation_id", Kind: record.String},
				{Name: "amount", Kind: record.Decimal, Precision: 10, Scale: 2},
				{Name: "method", Kind: record.String},
				{Name: "status", Kind: record.String},
				{Name: "paid_at", Kind: record.Timestamp, Nullable: true},
				{Name: "updated_at", Kind: record.Timestamp},
			},
		},
	}
}

// films are the collections of MongoDB: what is shown. Of a document only its _id is certain.
func films() []Table {
	element := []record.Field{{Name: "element", Kind: record.String, Nullable: true}}
	return []Table{
		{
			Database: MongoDB, Name: "movies", Key: []string{"_id"},
			Columns: []record.Field{
				{Name: "_id", Kind: record.String},
				{Name: "title", Kind: record.String, Nullable: true},
				{Name: "genres", Kind: record.List, Nullable: true, Fields: element},
				{Name: "director", Kind: record.String, Nullable: true},
				{Name: "distributor", Kind: record.String, Nullable: true},
				{Name: "source", Kind: record.String, Nullable: true},
				{Name: "mpaa_rating", Kind: record.String, Nullable: true},
				{Name: "release_date", Kind: record.String, Nullable: true},
				{Name: "running_time_min", Kind: record.Int32, Nullable: true},
				{Name: "imdb_rating", Kind: record.Float64, Nullable: true},
				{Name: "imdb_votes", Kind: record.Int32, Nullable: true},
				{Name: "rotten_tomatoes_rating", Kind: record.Int32, Nullable: true},
				{Name: "production_budget", Kind: record.Int64, Nullable: true},
				{Name: "us_gross", Kind: record.Int64, Nullable: true},
				{Name: "worldwide_gross", Kind: record.Int64, Nullable: true},
				{Name: "us_dvd_sales", Kind: record.Int64, Nullable: true},
			},
			Items: "cinema-movies", Indexes: []Index{{Name: "by_genre", Column: "genres", Each: true}},
		},
		{
			Database: MongoDB, Name: "genres", Key: []string{"_id"},
			Columns: []record.Field{
				{Name: "_id", Kind: record.String},
				{Name: "name", Kind: record.String, Nullable: true},
			},
		},
	}
}
