package mysql

import (
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"\n  `a` int,\n  KEY `b,)` (`a`)\n) ENGINE=InnoDB":                                        {"`a` int", "KEY `b,)` (`a`)", " ENGINE=InnoDB"},
		"`a``,` enum('x,)','it''s','\\'),(') DEFAULT 'y\\\\', PRIMARY KEY (`a``,`)) COMMENT='(,'": {"`a``,` enum('x,)','it''s','\\'),(') DEFAULT 'y\\\\'", "PRIMARY KEY (`a``,`)", " COMMENT='(,'"},
		"`a` int": nil, "`a int)": nil, "`a` char(2) DEFAULT 'x)": nil,
	} {
		items, rest, ok := split(text)
		if ok {
			items = append(items, rest)
		}
		if !slices.Equal(items, want) && (ok || want != nil) {
			t.Errorf("%s gives %q", text, items)
		}
	}
}

// FuzzSplit takes texts apart: what comes out is all of it but blanks and the commas between.
func FuzzSplit(f *testing.F) {
	f.Add("\n  `a` int DEFAULT 'x,',\n  CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `db`.`t` (`b`)\n) ENGINE=InnoDB")
	f.Add("`a``` enum('\\'', '''')) x")
	f.Fuzz(func(t *testing.T, text string) {
		items, rest, ok := split(text)
		if !ok {
			return
		}
		size := len(rest) + 1 + len(items) - 1
		for _, item := range items {
			size += len(item)
			kindOf(item)
			if at := outside(item, " REFERENCES "); at >= 0 {
				identifiers(item[at+len(" REFERENCES "):])
			}
			if item != strings.TrimSpace(item) {
				t.Errorf("%q gives %q", text, item)
			}
		}
		if size > len(text) {
			t.Errorf("%q gives %q and %q", text, items, rest)
		}
	})
}
