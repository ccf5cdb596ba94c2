package record_test

import (
	"testing"

	"github.com/acequia-io/acequia/record"
)

func TestParseType(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"int64": "int64", "decimal(8,2)": "decimal(8,2)", "decimal( 38 , 0 )": "decimal(38,0)", "decimal(5)": "decimal(5,0)", " string ": "string",
		"local_timestamp": "local_timestamp", "bool": "bool", "bytes": "bytes",
		"": "", "integer": "", "list": "", "struct": "", "version": "", "decimal": "", "decimal(0,0)": "", "decimal(39,0)": "", "decimal(4,5)": "",
		"decimal(4,-1)": "", "decimal(4,2": "", "decimal(a,b)": "", "int64(3)": "",
	} {
		f, err := record.ParseType("x", text)
		switch {
		case (err == nil) != (want != ""):
			t.Errorf("%q: %v", text, err)
		case err == nil && (f.TypeName() != want || f.Name != "x" || !f.Nullable):
			t.Errorf("%q: got %+v, %s", text, f, f.TypeName())
		}
	}
}
