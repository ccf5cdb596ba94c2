package cli

import (
	"context"
	"os"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/jobs"
)

// spoken is the language that a command speaks with people. JSON is the same in all of them.
type spoken struct {
	Lang string `help:"Language of what is printed: es or en; default: that of the system." enum:",es,en" default:"" env:"ACEQUIA_LANG"`
}

// say chooses between two languages.
func (s spoken) say(english, spanish string) string {
	if language(s.Lang) == "es" {
		return spanish
	}
	return english
}

// translation says texts that come from elsewhere: those that no phrase is known for stay as they are.
func (s spoken) translation() func(text string) string {
	return config.Translation(language(s.Lang))
}

// project reads configuration files; mistakes end the command.
func (s spoken) project(ctx context.Context, t terminal, paths ...string) (*app.Project, error) {
	t.lang = language(s.Lang)
	project, problems, err := files{Paths: paths}.load(ctx, t)
	if err != nil {
		return nil, err
	}
	if problems.Errors() {
		tell(t.err, problems.In(t.lang))
		return nil, toldError{exitUsage}
	}
	return project, nil
}

// file reads the configuration file of a command that takes one; "": the usual one.
func (s spoken) file(ctx context.Context, t terminal, path string) (*app.Project, error) {
	if path == "" {
		return s.project(ctx, t)
	}
	return s.project(ctx, t, path)
}

// holder is the process that holds the state of a project.
func (s spoken) holder(p *app.Project) holder {
	return holder{dir: p.State, lang: language(s.Lang)}
}

// told prints an error that is made for people; any other is left to who runs the command, who knows of signals.
func (s spoken) told(t terminal, err error) error {
	if fault.Code(err) == "" {
		return err
	}
	return toldError{reportIn(t.err, err, s.translation())}
}

// language is the one that was asked for, else that of the system: es, or en for any other.
func language(asked string) string {
	for _, text := range []string{asked, os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG")} {
		if text != "" {
			if strings.HasPrefix(text, "es") {
				return "es"
			}
			break
		}
	}
	return "en"
}

// stateIn is how a job, a database or a table of one stands.
func stateIn(s spoken, state string) string {
	spanish, ok := map[string]string{
		"queued": "en cola", "waiting": "en espera", "running": "en marcha", "succeeded": "terminó bien", "partial": "parcial", "failed": "falló",
		"canceled": "se canceló",
	}[state]
	if !ok {
		return state
	}
	return s.say(state, spanish)
}

// caller is who asked for a job.
func caller(s spoken, by string) string {
	if name, ok := strings.CutPrefix(by, "schedule "); ok {
		return s.say(by, "horario "+name)
	}
	if by == "this machine" {
		return s.say(by, "esta máquina")
	}
	return by
}

// verdict is what a comparison says of a table.
func verdict(s spoken, found string) string {
	spanish, ok := map[string]string{jobs.VerifyEqual: "igual", jobs.VerifyDifferent: "diferente", jobs.VerifyNone: "sin comparar"}[found]
	if !ok {
		return found
	}
	return s.say(found, spanish)
}
