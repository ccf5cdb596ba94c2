package archtest

import (
	"errors"
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// pluginsRunTheirSuite wants a conformance_test.go that calls the suite's Run, in each plugin and each example.
func pluginsRunTheirSuite(t *tree) []string {
	var found []string
	for dir, files := range t.packages() {
		kind, isExample := "", strings.HasPrefix(dir, "examples/")
		switch {
		case isPlugin(dir):
			kind, _, _ = strings.Cut(dir, "/")
		case isExample && imported(files, module+"/sources"):
			kind = "sources"
		case isExample && imported(files, module+"/handlers"):
			kind = "handlers"
		default:
			continue
		}
		if strings.Count(dir, "/") > 1 || !slices.ContainsFunc(files, func(f goFile) bool { return !f.test }) {
			continue // a package beside the plugin, such as its generated code
		}
		if !slices.ContainsFunc(files, func(f goFile) bool { return path.Base(f.path) == "conformance_test.go" && f.calls(suite(kind), "Run") }) {
			found = append(found, fmt.Sprintf("%s: conformance_test.go must call %s.Run", dir, suite(kind)))
		}
	}
	return found
}

func imported(files []goFile, name string) bool {
	return slices.ContainsFunc(files, func(f goFile) bool { return slices.Contains(f.imports(), name) })
}

// calls says whether a file calls a function of a package.
func (f goFile) calls(pkg, function string) bool {
	called := false
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == function {
				base, ok := s.X.(*ast.Ident)
				called = called || ok && base.Name == pkg
			}
		}
		return !called
	})
	return called
}

// known gives the name by which a file calls a package of ours: a source and a sink may be called the same.
func (f goFile) known(pkg string) string {
	for _, spec := range f.syntax.Imports {
		if spec.Name != nil && strings.Trim(spec.Path.Value, `"`) == module+"/"+pkg {
			return spec.Name.Name
		}
	}
	return path.Base(pkg)
}

// pluginsStandInTheCatalog wants one line in catalog/catalog.go for each plugin.
func pluginsStandInTheCatalog(t *tree) []string {
	var found []string
	i := slices.IndexFunc(t.files, func(f goFile) bool { return f.path == "catalog/catalog.go" })
	if i < 0 {
		return []string{"catalog/catalog.go is missing"}
	}
	for dir, files := range t.packages() {
		program := slices.ContainsFunc(files, func(f goFile) bool { return !f.test })
		if isPlugin(dir) && program && strings.Count(dir, "/") == 1 && !t.files[i].calls(t.files[i].known(dir), "Plugin") {
			found = append(found, fmt.Sprintf("%s: catalog/catalog.go does not list %s.Plugin()", dir, path.Base(dir)))
		}
	}
	return found
}

// dependenciesHaveTheirReason wants a row of docs/DEPENDENCIES.md, with the version, for each direct dependency.
func dependenciesHaveTheirReason(t *tree) []string {
	mod, err := fs.ReadFile(t.fs, "go.mod")
	if err != nil {
		return []string{err.Error()}
	}
	doc, err := fs.ReadFile(t.fs, "docs/DEPENDENCIES.md")
	if err != nil {
		return []string{err.Error()}
	}
	rows := map[string]string{}
	for line := range strings.SplitSeq(string(doc), "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			rows[strings.Trim(cells[1], " `")] = strings.TrimSpace(cells[2])
		}
	}
	var found []string
	direct := map[string]bool{}
	for line := range strings.SplitSeq(string(mod), "\n") {
		words := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(words) != 2 || !strings.HasPrefix(words[1], "v") {
			continue // no requirement, or one with a comment: indirect
		}
		direct[words[0]] = true
		if version, ok := rows[words[0]]; !ok || version != words[1] {
			found = append(found, fmt.Sprintf("docs/DEPENDENCIES.md: no row for %s %s (it says %q)", words[0], words[1], version))
		}
	}
	for name := range rows {
		if strings.Contains(name, ".") && strings.Contains(name, "/") && !direct[name] {
			found = append(found, fmt.Sprintf("docs/DEPENDENCIES.md: %s is not a direct dependency", name))
		}
	}
	return found
}

// readmesAreEqual compares the shape of the English and the Spanish README: headings, and the code blocks word for word.
func readmesAreEqual(t *tree) []string {
	english, noEnglish := fs.ReadFile(t.fs, "README.md")
	spanish, noSpanish := fs.ReadFile(t.fs, "README.es.md")
	switch err := errors.Join(noEnglish, noSpanish); {
	case noEnglish != nil && noSpanish != nil:
		return nil
	case err != nil:
		return []string{"README.md and README.es.md go together: " + err.Error()}
	}
	a, b := outline(string(english)), outline(string(spanish))
	var found []string
	if !slices.Equal(a.headings, b.headings) {
		found = append(found, fmt.Sprintf("README.es.md: its headings have the levels %v, README.md's %v", b.headings, a.headings))
	}
	if !slices.Equal(a.blocks, b.blocks) {
		found = append(found, fmt.Sprintf("README.es.md: its code blocks differ from README.md's:\n%q\n%q", b.blocks, a.blocks))
	}
	return found
}

// snippetsAreCompiled wants each Go block of CONTRIBUTING.md to stand, word for word, in the example that it explains.
func snippetsAreCompiled(t *tree) []string {
	text, err := fs.ReadFile(t.fs, "CONTRIBUTING.md")
	if err != nil {
		return []string{err.Error()}
	}
	var code strings.Builder
	for _, f := range t.files {
		if strings.HasPrefix(f.dir, "examples/") {
			source, err := fs.ReadFile(t.fs, f.path)
			if err != nil {
				return []string{err.Error()}
			}
			code.Write(source)
		}
	}
	var found []string
	for _, block := range outline(string(text)).blocks {
		if snippet, isGo := strings.CutPrefix(block, "```go\n"); isGo && !strings.Contains(code.String(), snippet) {
			found = append(found, "CONTRIBUTING.md: no example has this code:\n"+snippet)
		}
	}
	return found
}

// document is the shape of a Markdown text.
type document struct {
	headings []int // levels
	blocks   []string
}

func outline(text string) document {
	var d document
	var block *strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```") && block == nil:
			block = &strings.Builder{}
			block.WriteString(line)
		case strings.HasPrefix(line, "```"):
			d.blocks = append(d.blocks, block.String())
			block = nil
		case block != nil:
			block.WriteString("\n" + line)
		case strings.HasPrefix(line, "#"):
			d.headings = append(d.headings, len(line)-len(strings.TrimLeft(line, "#")))
		}
	}
	return d
}
