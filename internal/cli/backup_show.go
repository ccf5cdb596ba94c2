package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/backup"
)

// show writes what was made for people.
func (c backupCreateCmd) show(t terminal, results []app.BackupResult, pruned *backup.Pruned) {
	for _, r := range results {
		b := r.Backup
		if r.Err != nil || b == nil {
			continue
		}
		_, _ = fmt.Fprintf(t.out, c.say("✓ %s: backup %s, %d tables, %s rows, %s in %.1f s\n", "✓ %s: copia %s, %d tablas, %s filas, %s en %.1f s\n"),
			b.Source, b.ID, len(b.Tables), thousands(b.Rows), humanize.IBytes(uint64(b.Bytes)), b.Seconds) //nolint:gosec // a size
		if !b.Consistent {
			_, _ = fmt.Fprintln(t.out, c.say("  It is not of one moment: the database cannot show one.", "  No es de un solo instante: la base de datos no puede mostrar uno."))
		}
		notKept(t.out, c.spoken, b.NotKept)
	}
	if pruned != nil {
		_ = showPruned(t.out, c.spoken, pruned, false) // what could not be written was not read
	}
}

// notKept says what a restore will not bring.
func notKept(out io.Writer, s spoken, lines []string) {
	if len(lines) == 0 {
		return
	}
	const most = 5
	say := s.translation()
	_, _ = fmt.Fprintln(out, s.say("  Not kept:", "  No se guarda:"))
	for i, line := range lines {
		if i == most {
			_, _ = fmt.Fprintf(out, s.say("    and %d more: --json shows all\n", "    y %d más: --json lo muestra todo\n"), len(lines)-most)
			return
		}
		_, _ = fmt.Fprintf(out, "    %s\n", shorten(say(line), 140))
	}
}

// show writes the list for people.
func (c backupListCmd) show(t terminal, all []backup.Backup, bad []backup.Unreadable, root string) error {
	if len(all) == 0 && len(bad) == 0 {
		_, err := fmt.Fprintf(t.out, c.say("There are no backups in %s.\n", "No hay copias en %s.\n"), root)
		return err
	}
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, c.say("backup\tsource\tdatabase\tof\ttables\trows\tsize\tformat\t", "copia\torigen\tbase de datos\tde\ttablas\tfilas\ttamaño\tformato\t"))
	for i := range all {
		b := &all[i]
		format := b.Format
		if b.Encrypted {
			format += c.say(", encrypted", ", cifrada")
		}
		if !b.Consistent {
			format += c.say(", not of one moment", ", no de un instante")
		}
		tables := strconv.Itoa(len(b.Tables))
		if len(b.Selection) > 0 {
			tables += " (" + strings.Join(b.Selection, " ") + ")"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", b.ID, b.Source, b.SourceDB+" "+b.Database, b.At.Format("2006-01-02 15:04:05Z"), tables,
			thousands(b.Rows), humanize.IBytes(uint64(b.Bytes)), format) //nolint:gosec // a size
	}
	err := w.Flush()
	for _, u := range bad {
		_, _ = fmt.Fprintf(t.err, c.say("✗ %s of %s cannot be read: %s\n", "✗ %s de %s no se puede leer: %s\n"), u.ID, u.SourceDB, u.Reason)
	}
	return err
}

// show writes what was found for people.
func (c backupVerifyCmd) show(t terminal, v *backup.Verified) error {
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	head := c.say("table\trows\tfiles\tbackup\t", "tabla\tfilas\tficheros\tcopia\t")
	if v.Equal != nil {
		head += c.say("rows now\tdatabase\t", "filas ahora\tbase de datos\t")
	}
	_, _ = fmt.Fprintln(w, head)
	for i := range v.Tables {
		f := &v.Tables[i]
		state := c.say("whole", "íntegra")
		if len(f.Problems) > 0 {
			state = c.say("DAMAGED", "DAÑADA")
		}
		line := fmt.Sprintf("%s\t%s\t%d\t%s\t", f.Name, thousands(f.Rows), f.Files, state)
		if f.Now != nil {
			same := c.say("equal", "igual")
			if f.Differs {
				same = c.say("DIFFERS", "DIFIERE")
			}
			line += fmt.Sprintf("%s\t%s\t", thousands(*f.Now), same)
		} else if v.Equal != nil {
			line += "-\t" + c.say("GONE", "NO ESTÁ") + "\t"
		}
		_, _ = fmt.Fprintln(w, line)
	}
	err := w.Flush()
	for i := range v.Tables {
		for _, p := range v.Tables[i].Problems {
			_, _ = fmt.Fprintf(t.out, "✗ %s\n", p)
		}
	}
	if v.Whole {
		_, _ = fmt.Fprintf(t.out, c.say("✓ backup %s of %s is whole\n", "✓ la copia %s de %s está íntegra\n"), v.ID, v.Source)
	}
	return err
}

// show writes what was made again for people.
func (c backupRestoreCmd) show(t terminal, r *backup.Restored) error {
	_, err := fmt.Fprintf(t.out, c.say("✓ backup %s is restored into %s: %d tables, %s rows, all compared, in %.1f s\n",
		"✓ la copia %s está restaurada en %s: %d tablas, %s filas, todas comparadas, en %.1f s\n"), r.ID, r.Into, len(r.Tables), thousands(r.Rows), r.Seconds)
	notKept(t.out, c.spoken, r.NotKept)
	for _, line := range r.LeftOut {
		_, _ = fmt.Fprintf(t.out, c.say("  Left out, for its other table is not restored: %s\n", "  Se omite, porque su otra tabla no se restaura: %s\n"), line)
	}
	return err
}

// showPruned writes what was removed for people.
func showPruned(out io.Writer, s spoken, p *backup.Pruned, dry bool) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	why := map[string]string{
		"daily": s.say("daily", "diaria"), "weekly": s.say("weekly", "semanal"), "monthly": s.say("monthly", "mensual"),
		"newest": s.say("newest", "la última"), "damaged": s.say("damaged: look at it", "dañada: revísala"),
	}
	line := func(what string, d backup.Decision) {
		var reasons []string
		for _, r := range d.Why {
			reasons = append(reasons, why[r])
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", what, d.ID, d.Source, humanize.IBytes(uint64(d.Bytes)), strings.Join(reasons, ", ")) //nolint:gosec // a size
	}
	for _, d := range p.Kept {
		line(s.say("kept", "se queda"), d)
	}
	gone := s.say("removed", "borrada")
	if dry {
		gone = s.say("would go", "se borraría")
	}
	for _, d := range p.Removed {
		line(gone, d)
	}
	for _, d := range p.InUse {
		line(s.say("in use", "en uso"), d)
	}
	err := w.Flush()
	if n := len(p.Swept); n > 0 {
		_, _ = fmt.Fprintf(out, s.say("%s of no backup: %s\n", "%s de ninguna copia: %s\n"), countIn(s, n), gone)
	}
	if len(p.Kept)+len(p.Removed)+len(p.InUse)+len(p.Swept) == 0 {
		_, _ = fmt.Fprintln(out, s.say("There are no backups.", "No hay copias."))
	}
	return err
}

// countIn counts files.
func countIn(s spoken, n int) string {
	if n == 1 {
		return s.say("1 file", "1 fichero")
	}
	return fmt.Sprintf(s.say("%d files", "%d ficheros"), n)
}
