package expr

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"

	"github.com/acequia-io/acequia/record"
)

const (
	maxLength = 10_000 // characters of an expression
	maxDepth  = 250    // of parentheses, and operators in a row
)

// node is an expression of a known type.
type node struct {
	typ      typ
	nullable bool
	eval     func(c *call) *vec
	lit      *vec // of a literal: its value; of null: nil
	expr     ast.Expr
}

// literal says whether the node is a literal other than null.
func (n *node) literal() bool { return n.lit != nil }

// compiler turns one text into nodes. A method that finds a mistake notes it and gives nil; so does one that is given nil.
type compiler struct {
	text    string
	schema  *record.Schema
	info    *ast.SourceInfo
	columns []string
	errs    []*Error
}

// parse reads the text; nil when it has mistakes.
func (c *compiler) parse() *ast.AST {
	if strings.TrimSpace(c.text) == "" {
		c.failAt(0, "the expression is empty", "")
		return nil
	}
	if !utf8.ValidString(c.text) {
		c.failAt(0, "the expression is not UTF-8", "")
		return nil
	}
	p, err := parser.NewParser(parser.Macros(parser.HasMacro), parser.PopulateMacroCalls(true), parser.EnableIdentEscapeSyntax(true),
		parser.ExpressionSizeCodePointLimit(maxLength), parser.MaxRecursionDepth(maxDepth))
	if err != nil {
		c.failAt(0, err.Error(), "")
		return nil
	}
	source := common.NewTextSource(c.text)
	tree, errs := p.Parse(source)
	if errs != nil && len(errs.GetErrors()) > 0 {
		for _, e := range errs.GetErrors() {
			at := 0
			if o, ok := source.LocationOffset(e.Location); ok {
				at = int(o)
			}
			c.failAt(at, syntax(e.Message), "")
		}
		return nil
	}
	c.info = tree.SourceInfo()
	return tree
}

func (c *compiler) compile() *node {
	tree := c.parse()
	if tree == nil {
		return nil
	}
	root := c.expr(tree.Expr())
	switch {
	case root == nil:
	case root.typ.kind == kNull:
		return c.fail(root.expr, "the expression is null for every row", "")
	case root.typ.kind == kDuration:
		return c.fail(root.expr, "the result is a duration, which no column can hold", "write int(...getSeconds()) or the like")
	case root.typ.kind == kList || root.typ.kind == kStruct:
		return c.fail(root.expr, "the result is a "+root.typ.name(), "")
	}
	return root
}

// syntax makes the parser's words shorter.
func syntax(message string) string {
	message = strings.TrimPrefix(message, "Syntax error: ")
	if i := strings.Index(message, " expecting {"); i > 0 && len(message) > 80 {
		message = message[:i]
	}
	return strings.ToValidUTF8(message, "?")
}

func (c *compiler) failAt(offset int, message, suggestion string) {
	offset = max(0, min(offset, utf8.RuneCountInString(c.text)))
	c.errs = append(c.errs, &Error{Offset: offset, Message: message, Suggestion: suggestion})
}

// fail notes a mistake at the token of an expression: an operator, a name or a literal.
func (c *compiler) fail(e ast.Expr, message, suggestion string) *node {
	c.failAt(c.offset(e), message, suggestion)
	return nil
}

// offset finds the token: the parser's place of a selection is its dot, that of a call its parenthesis.
func (c *compiler) offset(e ast.Expr) int {
	if macro, ok := c.info.GetMacroCall(e.ID()); ok && macro.Kind() == ast.CallKind && len(macro.AsCall().Args()) == 1 {
		e = macro.AsCall().Args()[0] // what has() asks for
	}
	r, _ := c.info.GetOffsetRange(e.ID())
	at := int(r.Start)
	switch e.Kind() {
	case ast.SelectKind:
		return c.skip(at, ".")
	case ast.CallKind:
		return c.name(at)
	default:
		return at
	}
}

// name gives the place where the name before a parenthesis starts.
func (c *compiler) name(offset int) int {
	runes := []rune(c.text)
	if offset <= 0 || offset >= len(runes) || runes[offset] != '(' {
		return offset
	}
	at := offset
	for at > 0 && strings.ContainsRune(" \t\r\n", runes[at-1]) {
		at--
	}
	for at > 0 && (runes[at-1] == '_' || unicode.IsLetter(runes[at-1]) || unicode.IsDigit(runes[at-1])) {
		at--
	}
	return at
}

// skip gives the place behind a mark and white space, when the mark stands at the offset.
func (c *compiler) skip(offset int, mark string) int {
	runes := []rune(c.text)
	if offset < 0 || offset >= len(runes) || string(runes[offset]) != mark {
		return offset
	}
	for offset++; offset < len(runes)-1 && strings.ContainsRune(" \t\r\n", runes[offset]); {
		offset++
	}
	return offset
}

// show gives the text of an expression, cut short.
func (c *compiler) show(e ast.Expr) string {
	text, err := parser.Unparse(e, c.info)
	if err != nil {
		return "the expression"
	}
	const most = 60
	if r := []rune(text); len(r) > most {
		return string(r[:most-3]) + "..."
	}
	return text
}

// made is a node whose value is null where one of its operands is. Of literals it is a literal.
func (c *compiler) made(e ast.Expr, t typ, eval func(c *call) *vec, operands ...*node) *node {
	if !slices.ContainsFunc(operands, func(n *node) bool { return !n.literal() }) {
		v := eval(&call{rows: 1})
		if len(v.errs) > 0 {
			return c.fail(e, v.errs[0].err.Error(), "")
		}
		v.shared = true
		return known(e, t, v)
	}
	return &node{typ: t, expr: e, eval: eval, nullable: slices.ContainsFunc(operands, func(n *node) bool { return n.nullable })}
}

func (c *compiler) expr(e ast.Expr) *node {
	switch e.Kind() {
	case ast.LiteralKind:
		return c.literal(e)
	case ast.IdentKind:
		return c.ident(e)
	case ast.SelectKind:
		return c.selection(e)
	case ast.CallKind:
		return c.call(e)
	case ast.ListKind:
		return c.fail(e, "a list stands only after in", `such as row.x in ["a", "b"]`)
	default:
		return c.fail(e, "maps and objects are not used here", "")
	}
}

func (c *compiler) literal(e ast.Expr) *node {
	v := &vec{shared: true, col: record.Column{Const: true}}
	var k kind
	switch x := e.AsLiteral().(type) {
	case types.Bool:
		k, v.bits = kBool, []uint64{0}
		if x {
			v.bits[0] = 1
		}
	case types.Int:
		k, v.col.Ints = kInt, []int64{int64(x)}
	case types.Double:
		k, v.col.Floats = kDouble, []float64{float64(x)}
	case types.String:
		k = kString
		v.col.AppendText([]byte(x))
	case types.Bytes:
		k = kBytes
		v.col.AppendText([]byte(x))
	case types.Null:
		return &node{typ: typ{kind: kNull}, nullable: true, expr: e}
	default:
		return c.fail(e, "unsigned integers are not used here", "write the number without u")
	}
	return known(e, typ{kind: k}, v)
}

// known is a node of a value that is known before any row is.
func known(e ast.Expr, t typ, v *vec) *node {
	return &node{typ: t, expr: e, lit: v, eval: func(*call) *vec { out := *v; return &out }}
}

func (c *compiler) ident(e ast.Expr) *node {
	name := e.AsIdent()
	switch {
	case name == "row":
		example := "row." + c.schema.Fields[0].Name
		return c.fail(e, "row is the whole record", "name a column of it, such as "+example)
	case c.schema.Index(name) >= 0:
		return c.fail(e, name+" is not known", "did you mean row."+name+"?")
	}
	suggestion := "columns are written row.name"
	if closest, ok := nearest(name, append(c.names(), "row")); ok {
		suggestion = "did you mean row." + closest + "?"
		if closest == "row" {
			suggestion = "did you mean row?"
		}
	}
	return c.fail(e, name+" is not known", suggestion)
}

func (c *compiler) names() []string {
	names := make([]string, len(c.schema.Fields))
	for i, f := range c.schema.Fields {
		names[i] = f.Name
	}
	return names
}

func (c *compiler) selection(e ast.Expr) *node {
	s := e.AsSelect()
	n := c.member(e, s.Operand(), s.FieldName())
	if n == nil || !s.IsTestOnly() {
		return n
	}
	return c.presence(e, n, true)
}

// member is a column of the record, or a member of a struct.
func (c *compiler) member(e, operand ast.Expr, name string) *node {
	if operand.Kind() == ast.IdentKind && operand.AsIdent() == "row" {
		return c.column(e, name)
	}
	of := c.expr(operand)
	switch {
	case of == nil:
		return nil
	case of.typ.kind != kStruct:
		return c.fail(e, fmt.Sprintf("%s is %s and has no member %s", c.show(operand), of.typ.name(), name), "")
	}
	members := of.typ.field.Fields
	i := slices.IndexFunc(members, func(f record.Field) bool { return f.Name == name })
	if i < 0 {
		names := make([]string, len(members))
		for k, f := range members {
			names[k] = f.Name
		}
		return c.unknown(e, fmt.Sprintf("%s has no member %s", c.show(operand), name), name, names)
	}
	t, ok := typeOf(members[i])
	if !ok {
		return c.fail(e, fmt.Sprintf("expressions cannot read %s, which is %s", name, members[i].TypeName()), "")
	}
	return &node{
		typ: t, nullable: of.nullable || members[i].Nullable, expr: e,
		eval: func(c *call) *vec {
			parent := of.eval(c)
			n := c.size(parent)
			v := loaded(parent.col.Children[i], t, n, parent.col.Const)
			v.col.Valid = both(v.col.Valid, parent.col.Valid, n)
			v.col.Absent = either(v.col.Absent, parent.col.Absent)
			v.errs = parent.errs
			return v
		},
	}
}

func (c *compiler) unknown(e ast.Expr, message, name string, names []string) *node {
	suggestion := ""
	if closest, ok := nearest(name, names); ok {
		suggestion = "did you mean " + closest + "?"
	} else if len(names) > 0 && len(names) <= 20 {
		suggestion = "there are " + strings.Join(names, ", ")
	}
	return c.fail(e, message, suggestion)
}

func (c *compiler) column(e ast.Expr, name string) *node {
	i := c.schema.Index(name)
	if i < 0 {
		return c.unknown(e, "there is no column "+name, name, c.names())
	}
	f := c.schema.Fields[i]
	t, ok := typeOf(f)
	if !ok {
		return c.fail(e, fmt.Sprintf("expressions cannot read %s, which is %s", name, f.TypeName()), "")
	}
	if !slices.Contains(c.columns, name) {
		c.columns = append(c.columns, name)
	}
	return &node{
		typ: t, nullable: f.Nullable, expr: e,
		eval: func(c *call) *vec {
			column := &c.batch.Columns[i]
			return loaded(*column, t, c.rows, column.Const)
		},
	}
}

// loaded makes a value of a column.
func loaded(column record.Column, t typ, rows int, constant bool) *vec {
	v := &vec{col: column, shared: true}
	v.col.Const = constant
	if t.kind != kBool {
		return v
	}
	n := rows
	if constant {
		n = 1
	}
	v.bits = make([]uint64, words(n))
	for i, x := range column.Ints[:n] {
		v.bits[i>>6] |= uint64(x&1) << (i & 63)
	}
	v.col.Ints = nil
	return v
}

// presence is has(), == null and != null: true or false, never null.
func (c *compiler) presence(e ast.Expr, of *node, present bool) *node {
	n := c.made(e, typ{kind: kBool}, func(c *call) *vec {
		v := of.eval(c)
		n := c.size(v)
		out := &vec{col: record.Column{Const: v.col.Const}, bits: make([]uint64, words(n))}
		for w := range out.bits {
			out.bits[w] = ^uint64(0)
			if v.col.Valid != nil {
				out.bits[w] = v.col.Valid[w]
			}
			if !present {
				out.bits[w] = ^out.bits[w]
			}
		}
		out.carry(v.errs, n)
		return out
	}, of)
	if n != nil {
		n.nullable = false
	}
	return n
}

func (c *compiler) call(e ast.Expr) *node {
	f := e.AsCall()
	switch name := f.FunctionName(); name {
	case operators.Conditional:
		return c.conditional(e)
	case operators.LogicalAnd, operators.LogicalOr:
		return c.logic(e, name == operators.LogicalAnd)
	case operators.LogicalNot:
		return c.not(e)
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return c.comparison(e, name)
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo:
		return c.arithmetic(e, name)
	case operators.Negate:
		return c.negation(e)
	case operators.In:
		return c.membership(e)
	case operators.Index:
		return c.index(e)
	default:
		return c.function(e, name)
	}
}

// index is row["name"] or row.who["name"].
func (c *compiler) index(e ast.Expr) *node {
	args := e.AsCall().Args()
	if args[1].Kind() == ast.LiteralKind {
		if name, ok := args[1].AsLiteral().(types.String); ok {
			return c.member(e, args[0], string(name))
		}
	}
	return c.fail(e, "an index is the name of a column as a text literal", `such as row["year"]`)
}

// operands compiles all arguments, so that all their mistakes are reported; ok is false when one has any.
func (c *compiler) operands(args ...ast.Expr) (nodes []*node, ok bool) {
	nodes, ok = make([]*node, len(args)), true
	for i, a := range args {
		nodes[i] = c.expr(a)
		ok = ok && nodes[i] != nil
	}
	return nodes, ok
}
