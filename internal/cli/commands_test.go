package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCommandsOfThePages parses every command of acequia that a page on running it, or a file of deploy, shows.
func TestCommandsOfThePages(t *testing.T) {
	t.Parallel()
	pages := []string{
		"docs/deploy-ec2.md", "docs/deploy-ec2.es.md", "docs/troubleshooting.md", "docs/troubleshooting.es.md", "docs/from-python.md", "docs/RIGHTS.md",
		"deploy/systemd/acequia.service",
	}
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(page))) //nolint:gosec // our own page
		if err != nil {
			t.Fatal(err)
		}
		found := commandsOf(page, string(text))
		if len(found) < 2 {
			t.Errorf("%s shows %q", page, found)
		}
		for _, args := range found {
			parser, err := newParser(&cli{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(args); err != nil {
				t.Errorf("%s: acequia %s: %v", page, strings.Join(args, " "), err)
			}
		}
	}
}

// commandsOf gives the arguments of the commands in the blocks of a page, and behind = in a unit.
func commandsOf(page, text string) (out [][]string) {
	command := regexp.MustCompile(`^(?:\w+=\S+ |ExecStart(?:Pre)?=|.* )?(?:/usr/local/bin/|\./)?acequia( .*)$`)
	prefixed := regexp.MustCompile(`^(?:[A-Z0-9_]+=\S* )*(?:\./)?acequia |^ExecStart|^sudo systemd-run`)
	blocks := []string{text}
	if strings.HasSuffix(page, ".md") {
		blocks = strings.Split(text, "\n```")
	}
	for i, block := range blocks {
		if strings.HasSuffix(page, ".md") && i%2 == 0 {
			continue
		}
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			if !prefixed.MatchString(line) {
				continue
			}
			found := command.FindStringSubmatch(line)
			if found == nil {
				continue
			}
			words, _, _ := strings.Cut(found[1], " > ")
			out = append(out, strings.Fields(words))
		}
	}
	return out
}

// TestPagesInTwoLanguages wants the same headings and the same commands in both.
func TestPagesInTwoLanguages(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"deploy-ec2", "troubleshooting"} {
		shape := func(suffix string) string {
			text, err := os.ReadFile(filepath.Join("..", "..", "docs", name+suffix))
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			inside := false
			for line := range strings.Lines(string(text)) {
				switch {
				case strings.HasPrefix(line, "```"):
					inside = !inside
				case inside:
					b.WriteString(strings.ReplaceAll(line, " --lang es", ""))
				case strings.HasPrefix(line, "#"):
					b.WriteString(strings.Repeat("#", strings.IndexByte(line, ' ')) + "\n")
				}
			}
			return b.String()
		}
		if english, spanish := shape(".md"), shape(".es.md"); english != spanish {
			t.Errorf("%s differs:\n%s\n---\n%s", name, english, spanish)
		}
	}
}
