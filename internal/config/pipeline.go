package config

import (
	"reflect"
	"slices"
	"strconv"
)

func (l *linter) pipeline(e Entry[*node], u *uses) *Pipeline {
	key := keyOf(l.file.root, "pipelines", e.Name)
	l.name(key, "pipeline")
	title := "pipeline " + e.Name
	switch {
	case e.Value.broken:
		return nil
	case e.Value.kind != mapping:
		l.wrong(e.Value, title, "a mapping of from, steps and to", "")
		return nil
	}
	p := &Pipeline{Name: e.Name, file: l.decoder.file, key: key, node: e.Value}
	var keys pipelineKeys
	l.structure(reflect.ValueOf(&keys).Elem(), e.Value, key, title)
	p.From = l.reference(keys.From, "source", "from", u.sources, u)
	p.To = l.sinks(e.Value, keys.To, title, u)
	_, steps, ok := e.Value.find(key, []string{"steps"})
	if ok && steps.kind != list && steps.kind != null && !steps.broken {
		l.wrong(steps, "steps", "a list of mappings, each with one key", "write [ { filter: ... } ]")
	} else {
		for i, n := range keys.Steps {
			p.Steps = append(p.Steps, l.step(n, i)...)
		}
	}
	p.Retry, p.StopAfter, p.Follow = keys.Errors.Retry, keys.Errors.StopAfter, keys.Follow
	l.retry(p)
	l.testsOf(p, keys.Tests)
	return p
}

func (l *linter) sinks(n *node, to []*node, title string, u *uses) []Reference {
	var out []Reference
	u.unclear["sink"] = u.unclear["sink"] || len(to) == 0
	for _, sink := range to {
		r := l.reference(sink, "sink", "to", u.sinks, u)
		switch {
		case r.Name == "":
		case slices.ContainsFunc(out, func(o Reference) bool { return o.Name == r.Name }):
			l.problem(sink, CodeDuplicate, "name it once", "%s writes to sink %s twice", title, sink.shown())
		default:
			out = append(out, r)
		}
	}
	if k, v, ok := n.find(nil, []string{"to"}); ok && v.kind == list && len(v.items) == 0 {
		l.problem(k, CodeMissing, "name a sink", "%s has no sink", title)
	}
	return out
}

// reference reads the name of a source or sink; one that is not there has its mistake and is given all the same.
func (l *linter) reference(n *node, what, key string, known []string, u *uses) Reference {
	r := Reference{what: what, file: l.decoder.file, node: n}
	switch {
	case n == nil || n.broken:
		u.unclear[what] = true
		return r
	case n.kind == null:
		l.problem(n, CodeWrong, "write the name of a "+what, "%s has no value", key)
		u.unclear[what] = true
		return r
	case n.kind != scalar || n.text == "":
		l.wrong(n, key, "the name of a "+what, "")
		u.unclear[what] = true
		return r
	}
	r.Name = n.text
	u.used[what+" "+n.text] = true
	if !slices.Contains(known, n.text) {
		near := nearest(n.text, known)
		u.used[what+" "+near] = true
		u.unclear[what] = u.unclear[what] || near == ""
		l.problems = append(l.problems, r.Problem(known))
	}
	return r
}

// step gives the blocks of one item of steps: one, or more when the list was meant to have more items.
func (l *linter) step(n *node, i int) []*Block {
	at := "steps[" + strconv.Itoa(i) + "]"
	var out []*Block
	switch {
	case n.broken:
		return nil
	case n.kind == scalar:
		l.wrong(n, at, "a mapping with one key", "write { "+n.shown()+": {} }")
		return nil
	case n.kind != mapping || len(n.pairs) == 0:
		l.wrong(n, at, "a mapping with one key, the type of the step", "")
		return nil
	}
	for j, p := range n.pairs {
		if j == 1 {
			l.problem(p.key, CodeWrong, "begin an item of the list, - "+p.key.text+": ..., for each step", "%s: a step has one key, its type", at)
		}
		out = append(out, &Block{Type: p.key.text, what: "step", file: l.decoder.file, node: p.value, at: p.key, key: p.key})
	}
	return slices.DeleteFunc(out, func(b *Block) bool { return b.node.broken })
}

func (l *linter) retry(p *Pipeline) {
	check := func(key string, bad bool, message string) {
		k, v, ok := p.node.find(p.key, []string{"errors", "retry", key})
		if ok && bad && !v.broken {
			l.problem(spot(k, v), CodeWrong, "", "retry: %s", message)
		}
	}
	check("max", p.Retry.Max < 0, "max is at least 0")
	const initial, longest = 200_000_000, 30_000_000_000 // the router's
	from, to := p.Retry.Initial, p.Retry.Longest
	if from == 0 {
		from = initial
	}
	if to == 0 {
		to = longest
	}
	if _, _, ok := p.node.find(p.key, []string{"errors", "retry", "longest"}); ok {
		check("longest", to < from, "longest is less than initial, "+duration(from))
	} else {
		check("initial", to < from, "initial is more than longest, "+duration(to))
	}
}
