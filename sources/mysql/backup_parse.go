package mysql

import "strings"

// itemKind is what a line of a CREATE TABLE makes.
type itemKind int

const (
	otherItem  itemKind = iota // a column, the primary key, a check
	manyKey                    // an index; several can be added together
	oneKey                     // an index that is added alone
	foreignKey                 //
)

// kindOf tells it by how the server begins it.
func kindOf(item string) itemKind {
	switch {
	case strings.HasPrefix(item, "KEY "), strings.HasPrefix(item, "UNIQUE KEY "):
		return manyKey
	case strings.HasPrefix(item, "FULLTEXT KEY "), strings.HasPrefix(item, "SPATIAL KEY "):
		return oneKey
	case strings.HasPrefix(item, "CONSTRAINT "):
		if _, rest := identifiers(strings.TrimPrefix(item, "CONSTRAINT ")); strings.HasPrefix(rest, " FOREIGN KEY ") {
			return foreignKey
		}
	}
	return otherItem
}

// span gives how long the quoted text is with which a text begins; 0: it begins with none, -1: it does not end.
func span(text string) int {
	quote := text[0]
	if quote != '\'' && quote != '`' && quote != '"' {
		return 0
	}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote != '`':
			i++
		case text[i] != quote:
		case i+1 < len(text) && text[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return -1
}

// split takes the items of a CREATE TABLE apart, which stand between its parentheses; rest is what comes behind the last of these.
func split(text string) (items []string, rest string, ok bool) {
	depth, from := 0, 0
	for i := 0; i < len(text); i++ {
		switch n := span(text[i:]); {
		case n < 0:
			return nil, "", false
		case n > 0:
			i += n - 1
		case text[i] == '(':
			depth++
		case text[i] == ')' && depth == 0:
			return append(items, strings.TrimSpace(text[from:i])), text[i+1:], true
		case text[i] == ')':
			depth--
		case text[i] == ',' && depth == 0:
			items, from = append(items, strings.TrimSpace(text[from:i])), i+1
		}
	}
	return nil, "", false
}

// outside finds a text that stands in no quotes; -1: it does not.
func outside(text, what string) int {
	for i := 0; i < len(text); i++ {
		switch n := span(text[i:]); {
		case n < 0:
			return -1
		case n > 0:
			i += n - 1
		case strings.HasPrefix(text[i:], what):
			return i
		}
	}
	return -1
}

// identifiers reads the name with which a text begins, `a` or `a`.`b`, and gives what comes behind it.
func identifiers(text string) (parts []string, rest string) {
	for strings.HasPrefix(text, "`") {
		n := span(text)
		if n < 0 {
			return nil, text
		}
		parts, text = append(parts, strings.ReplaceAll(text[1:n-1], "``", "`")), text[n:]
		if !strings.HasPrefix(text, ".`") {
			break
		}
		text = text[1:]
	}
	return parts, text
}
