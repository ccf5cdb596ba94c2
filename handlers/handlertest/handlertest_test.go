package handlertest_test

import (
	"testing"

	"github.com/acequia-io/acequia/handlers/handlertest"
)

func TestRightHandlerPasses(t *testing.T) {
	t.Parallel()
	handlertest.Run(t, harness(""))
}

// TestSeededFaultsAreCaught shows that each promise is looked at: a handler that breaks it fails the case.
func TestSeededFaultsAreCaught(t *testing.T) {
	t.Parallel()
	for wrong, name := range map[string]string{
		"bad type":                          "the plugin describes itself",
		"no doc":                            "the plugin describes itself",
		"shares its settings":               "the plugin describes itself",
		"takes any settings":                "the plugin describes itself",
		"takes wrong settings":              "wrong settings are refused",
		"shapes anything":                   "a schema that does not fit is refused",
		"poisons schemas":                   "a schema that does not fit is refused",
		"wrong shape":                       "the shape is what comes out",
		"new schema each time":              "the shape is what comes out",
		"writes into its input":             "the input is not changed",
		"leaks a reference":                 "references balance",
		"leaks when it refuses":             "references balance",
		"releases its input":                "references balance",
		"shares memory without a reference": "what comes out outlives what went in",
		"loses a row":                       "system data is carried",
		"loses operations":                  "system data is carried",
		"loses versions":                    "system data is carried",
		"loses event ids":                   "system data is carried",
		"loses routes":                      "system data is carried",
		"changes another column":            "other columns come out as they went in",
		"null where none may be":            "what comes out is well formed",
		"too few slots":                     "what comes out is well formed",
		"too large for its kind":            "what comes out is well formed",
		"constant is another value":         "constant columns are worth their rows",
		"counts in the batch":               "rows do not depend on their batch",
		"refuses the empty":                 "an empty batch passes",
		"refuses deletes":                   "deletes and truncates pass",
		"index off by one":                  "exactly the bad rows are named",
		"first bad row only":                "exactly the bad rows are named",
		"out of order":                      "exactly the bad rows are named",
		"no reason":                         "exactly the bad rows are named",
		"the whole value in the error":      "exactly the bad rows are named",
		"a column of its own in the error":  "exactly the bad rows are named",
		"bad rows are fatal":                "exactly the bad rows are named",
		"gives batches with an error":       "exactly the bad rows are named",
		"drops bad rows":                    "the rows that are left pass",
		"one row of a constant":             "a bad constant makes every row bad",
		"is for one lane":                   "lanes share the handler",
		"hides the context's error":         "an ended context ends it",
		"waits for ever":                    "an ended context ends it",
	} {
		t.Run(wrong, func(t *testing.T) {
			t.Parallel()
			if err := handlertest.Check(t.Context(), name, harness(wrong)); err == nil {
				t.Errorf("the case %q does not see it", name)
			} else if err2 := handlertest.Check(t.Context(), name, harness("")); err2 != nil {
				t.Errorf("the case fails without the fault too: %v", err2)
			}
		})
	}
}
