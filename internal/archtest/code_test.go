package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

const (
	maxFile      = 500 // lines
	maxFunction  = 80  // lines of its body that are not comments
	maxInterface = 4   // methods
)

// packagesAreDescribed wants a package comment in one of the files.
func packagesAreDescribed(t *tree) []string {
	var found []string
	for dir, files := range t.packages() {
		program := slices.ContainsFunc(files, func(f goFile) bool { return !f.test })
		described := slices.ContainsFunc(files, func(f goFile) bool {
			name := strings.TrimSuffix(f.syntax.Name.Name, "_test")
			doc := f.syntax.Doc.Text()
			return (!f.test || !program) && (strings.HasPrefix(doc, "Package "+name+" ") || name == "main" && strings.HasPrefix(doc, "Command "))
		})
		if !described {
			found = append(found, dir+": no file has a package comment")
		}
	}
	return found
}

// sizesAreKept limits files, functions and interfaces.
func sizesAreKept(t *tree) []string {
	var found []string
	for _, f := range t.files {
		if f.generated {
			continue
		}
		if f.lines > maxFile {
			found = append(found, fmt.Sprintf("%s: %d lines, more than %d", f.path, f.lines, maxFile))
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if lines := t.length(f, n); lines > maxFunction {
					found = append(found, fmt.Sprintf("%s: %s has %d lines, more than %d", t.at(n), n.Name.Name, lines, maxFunction))
				}
			case *ast.InterfaceType:
				if methods := n.Methods.NumFields(); methods > maxInterface {
					found = append(found, fmt.Sprintf("%s: an interface of %d methods, more than %d", t.at(n), methods, maxInterface))
				}
			}
			return true
		})
	}
	return found
}

// length counts the lines of a function's body on which code stands, or nothing.
func (t *tree) length(f goFile, fn *ast.FuncDecl) int {
	if fn.Body == nil {
		return 0
	}
	line := func(p token.Pos) int { return t.names.Position(p).Line }
	lines := line(fn.Body.Rbrace) - line(fn.Body.Lbrace) - 1
	for _, group := range f.syntax.Comments {
		for _, comment := range group.List {
			if comment.Pos() > fn.Body.Lbrace && comment.End() < fn.Body.Rbrace && f.alone[line(comment.Pos())] {
				lines -= line(comment.End()) - line(comment.Pos()) + 1
			}
		}
	}
	return lines
}

var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)

// wordsAreKept refuses what waits by the clock, ends the process or starts before main, and what was left for later.
func wordsAreKept(t *tree) []string {
	var found []string
	for _, f := range t.files {
		if f.generated {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if why := f.refused(n); why != "" {
				found = append(found, t.at(n)+": "+why)
			}
			return true
		})
		for _, group := range f.syntax.Comments {
			if word := unfinished.FindString(group.Text()); word != "" {
				found = append(found, fmt.Sprintf("%s: %s: do it, or say it in an issue", t.at(group), word))
			}
		}
	}
	return found
}

// refused says why a node may not stand in the file, or "".
func (f goFile) refused(n ast.Node) string {
	switch n := n.(type) {
	case *ast.FuncDecl:
		if n.Recv == nil && n.Name.Name == "init" {
			return "no init(): the catalog lists what there is"
		}
	case *ast.SelectorExpr:
		base, ok := n.X.(*ast.Ident)
		if !ok {
			return ""
		}
		switch name := base.Name + "." + n.Sel.Name; {
		case name == "time.Sleep":
			return "time.Sleep: wait for the event, or use testing/synctest"
		case (name == "os.Exit" || strings.HasPrefix(name, "log.Fatal")) && !f.test && layer(f.dir) != layerCommand:
			return name + ": return an error; only cmd ends the process"
		}
	case *ast.CallExpr:
		if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "panic" && !f.test && layer(f.dir) != layerCommand {
			return "panic: return an error; only cmd ends the process"
		}
	}
	return ""
}
