package sinktest_test

import (
	"testing"

	"github.com/acequia-io/acequia/sinks/sinktest"
)

func TestRightSinkPasses(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, harness(""))
}

// A sink that keeps no rows is held to their number.
func TestASinkThatCountsPasses(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, counting(""))
}

func counting(wrong string) sinktest.Harness {
	h := harness(wrong)
	whole := h.New
	h.New = func(t *testing.T) sinktest.Place {
		t.Helper()
		p := whole(t)
		rows := p.Rows
		p.Rows, p.Count = nil, func() (int, error) {
			found, err := rows()
			return len(found), err
		}
		return p
	}
	return h
}

func faults() map[string]string {
	return map[string]string{
		"loses a row":                       "published rows are visible as they were written",
		"shows the last group only":         "published rows are visible as they were written",
		"groups share names":                "published rows are visible as they were written",
		"loses nulls":                       "values survive",
		"empty becomes null":                "values survive",
		"integers pass through floats":      "values survive",
		"texts end at a zero byte":          "values survive",
		"cuts long texts":                   "values survive",
		"one row of a constant":             "values survive",
		"loses operations":                  "operations and versions are carried",
		"loses versions":                    "operations and versions are carried",
		"loses half of a version":           "operations and versions are carried",
		"visible after write":               "nothing is visible before publish",
		"visible after stage":               "nothing is visible before publish",
		"publishing again doubles":          "publishing again changes nothing",
		"publishing again fails":            "publishing again changes nothing",
		"leaves staged names":               "publishing again changes nothing",
		"miscounts":                         "the manifest says what is staged",
		"no digest":                         "the manifest says what is staged",
		"an empty manifest":                 "the manifest says what is staged",
		"stages beside its manifest":        "the manifest says what is staged",
		"knows its own parts only":          "a new owner rolls an intent forward",
		"sweeps nothing":                    "a sweep removes what no intent names",
		"sweeps the last epoch only":        "a sweep removes what no intent names",
		"compares epochs as text":           "a sweep removes what no intent names",
		"hides that it recovers":            "a sweep removes what no intent names",
		"sweeps other lanes":                "a sweep spares what is not its own",
		"sweeps other pipelines":            "a sweep spares what is not its own",
		"pipelines share a lane":            "a sweep spares what is not its own",
		"sweeps its own parts":              "a sweep spares what is not its own",
		"sweeps later epochs":               "a sweep spares what is not its own",
		"takes a loss for success":          "a part that has vanished is told and withdrawn",
		"a loss without its name":           "a part that has vanished is told and withdrawn",
		"withdraws nothing":                 "a part that has vanished is told and withdrawn",
		"always sees something":             "a part that has vanished is told and withdrawn",
		"never sees what is visible":        "what is visible is not withdrawn",
		"looks at the first part only":      "what is visible is not withdrawn",
		"withdraws what is visible":         "what is visible is not withdrawn",
		"overwrites":                        "a final name that is taken is told",
		"takes a conflict for success":      "a final name that is taken is told",
		"a conflict without its name":       "a final name that is taken is told",
		"cuts late":                         "a group is what was written before its cut",
		"cut rows stay":                     "a group is what was written before its cut",
		"stages empty parts":                "an empty group leaves nothing",
		"refuses an empty batch":            "an empty group leaves nothing",
		"index off by one":                  "exactly the bad rows are named",
		"first bad row only":                "exactly the bad rows are named",
		"names a good row too":              "exactly the bad rows are named",
		"out of order":                      "exactly the bad rows are named",
		"no reason":                         "exactly the bad rows are named",
		"the value in the reason":           "exactly the bad rows are named",
		"bad rows are fatal":                "exactly the bad rows are named",
		"drops bad rows":                    "exactly the bad rows are named",
		"takes the good rows":               "a refused batch has no effect",
		"forgets the group":                 "a refused batch has no effect",
		"holds what it refused":             "a refused batch has no effect",
		"closing publishes":                 "an open group is let go",
		"closing removes what is staged":    "what is staged outlives its writer",
		"holds nothing":                     "memory is told and given back",
		"holds more than nothing":           "memory is told and given back",
		"holds after a cut":                 "memory is told and given back",
		"holds after the end":               "memory is told and given back",
		"keeps a batch without a reference": "a batch is kept with a reference",
		"releases what is not its own":      "a batch is kept with a reference",
		"never releases":                    "a batch is kept with a reference",
		"closing keeps batches":             "a batch is kept with a reference",
		"lanes share a group":               "lanes do not disturb each other",
		"lanes share names":                 "lanes do not disturb each other",
	}
}

// TestSeededFaultsAreCaught shows that each promise is looked at: a sink that breaks it fails the case.
func TestSeededFaultsAreCaught(t *testing.T) {
	t.Parallel()
	for wrong, name := range faults() {
		t.Run(wrong, func(t *testing.T) {
			t.Parallel()
			if err := sinktest.Check(t, name, harness(wrong)); err == nil {
				t.Errorf("the case %q does not see it", name)
			} else if err2 := sinktest.Check(t, name, harness("")); err2 != nil {
				t.Errorf("the case fails without the fault too: %v", err2)
			} else {
				t.Log(err)
			}
		})
	}
}

// Each case has a fault that it alone is there for.
func TestEachCaseHasItsFault(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, name := range faults() {
		seen[name] = true
	}
	for _, name := range sinktest.Names() {
		if !seen[name] {
			t.Errorf("no fault shows that %q is looked at", name)
		}
	}
}

// Where rows are only counted, a row too few or too many is seen.
func TestFaultsOfASinkThatCountsAreCaught(t *testing.T) {
	t.Parallel()
	for _, wrong := range []string{"loses a row", "visible after write", "publishing again doubles", "cuts late", "closing publishes"} {
		if err := sinktest.Check(t, faults()[wrong], counting(wrong)); err == nil {
			t.Errorf("%q is not seen", wrong)
		}
	}
}

// A harness of a sink that stages must be able to lose a part, or the suite would leave a promise out.
func TestAHarnessThatCannotLoseAPartIsRefused(t *testing.T) {
	t.Parallel()
	h := harness("")
	whole := h.New
	h.New = func(t *testing.T) sinktest.Place {
		t.Helper()
		p := whole(t)
		p.Lose = nil
		return p
	}
	if err := sinktest.Check(t, "a part that has vanished is told and withdrawn", h); err == nil {
		t.Error("it passes")
	}
}
