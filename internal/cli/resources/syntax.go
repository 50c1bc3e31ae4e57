package resources

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// parse reads the YAML; what comes out is the mapping at its top.
func parse(raw []byte) (*yaml.Node, *Mistake) {
	if wrong := unreadable(raw); wrong != nil {
		return nil, wrong
	}
	var doc yaml.Node
	if err := yaml.Load(raw, &doc); err != nil {
		return nil, syntax(raw, err)
	}
	if len(doc.Content) == 0 {
		return nil, empty()
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, empty()
	}
	if root.Kind != yaml.MappingNode {
		return nil, &Mistake{Place: placeOf(root), Text: "The file does not begin with a list of resources.", Remedy: "Begin with providers:, mailboxes:, webhooks: or apps:, each followed by its list."}
	}
	return root, nil
}

func empty() *Mistake {
	return &Mistake{Place: Place{1, 1}, Text: "The file holds no resources.", Remedy: "Write providers:, mailboxes:, webhooks: or apps:, each followed by its list; “mailgrant export” shows those there are."}
}

// unreadable finds bytes that no YAML has.
func unreadable(raw []byte) *Mistake {
	for number, line := range bytes.Split(raw, []byte("\n")) {
		for at := 0; at < len(line); {
			r, size := utf8.DecodeRune(line[at:])
			column := utf8.RuneCount(line[:at]) + 1
			switch {
			case r == utf8.RuneError && size == 1:
				return &Mistake{Place: Place{number + 1, column}, Text: "This is not text in UTF-8.", Remedy: "Save the file as UTF-8."}
			case r < 0x20 && r != '\t' && (r != '\r' || at != len(line)-1), r == 0x7f:
				return &Mistake{Place: Place{number + 1, column}, Text: "There is a control character here.", Remedy: "Remove it; an editor that shows invisible characters helps."}
			}
			at += size
		}
	}
	return nil
}

// syntax puts a reader's complaint in words that help.
func syntax(raw []byte, err error) *Mistake {
	m := &Mistake{Text: "This is not YAML.", Remedy: "Look at this line and the one before it: a bracket or a quote that is not closed, a tab, or a colon without a space after it."}
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		m.Place = Place{1, 1}
		return m
	}
	switch {
	case strings.Contains(e.Message, "no documents"):
		return empty()
	case strings.Contains(e.Message, "single document"):
		return severalDocuments(raw)
	}
	m.Place = Place{max(e.Mark.Line, 1), max(e.Mark.Column, 1)}
	started := Place{e.ContextMark.Line, e.ContextMark.Column}
	line := lineOf(raw, m.Line)
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	in := func(words string) bool { return strings.Contains(e.ContextMsg, words) }
	switch {
	case strings.Contains(indent, "\t"):
		m.Text, m.Remedy = "The line begins with a tab.", "Indent with spaces; YAML takes no tabs there."
	case in("quoted scalar"):
		m.Place, m.Text, m.Remedy = started, "The quote that opens here is not closed.", "Close it on the same line."
	case in("flow sequence"):
		m.Place, m.Text, m.Remedy = started, "The list that opens here with [ is not closed.", "Put ] at its end, and a comma between its items."
	case in("flow mapping"):
		m.Place, m.Text, m.Remedy = started, "The group that opens here with { is not closed.", "Put } at its end, and a comma between its parts."
	case in("flow node"):
		m.Text, m.Remedy = "Something is missing between two commas or before a bracket.", "Remove the comma, or write what is missing."
	case in("simple key"):
		m.Place, m.Text, m.Remedy = started, "A setting is written as name: value, with a space after the colon.", "Put the colon and the space there."
	case in("scanning an alias"):
		m.Place, m.Text, m.Remedy = started, "A * cannot begin a value as it stands.", `Put quotes around it: "*".`
	case strings.Contains(e.Message, "unknown anchor"):
		m.Text, m.Remedy = noAlias, noAliasRemedy
	case strings.Contains(e.Message, "mapping values are not allowed"):
		m.Text = "There is a colon where none can be."
		m.Remedy = `Put quotes around a value that holds a colon and a space, such as "move: Processed"; or indent the line as the one above it; or put a space after the colon before it.`
	case strings.Contains(e.Message, "block sequence entries"):
		m.Text, m.Remedy = "A list cannot begin on this line.", "Begin it on the next line, indented, one dash before each item."
	case strings.Contains(e.Message, "cannot start any token"):
		m.Text, m.Remedy = "This character cannot begin a value.", "Put quotes around the value."
	case in("block mapping"), in("block collection"):
		m.Text, m.Remedy = "This line fits nothing above it.", "Indent it with as many spaces as the lines it belongs to; where text follows a quoted value, put all of it into the quotes."
	}
	return m
}

const (
	noAlias       = "Anchors and aliases (& and *) are not taken here."
	noAliasRemedy = "Write out what is meant, each time; put quotes around a text that begins with & or *."
)

func severalDocuments(raw []byte) *Mistake {
	m := &Mistake{Place: Place{1, 1}, Text: "A second document begins here; a file holds one.", Remedy: "Put all resources under one providers:, mailboxes:, webhooks: and apps:, or apply several files one after the other."}
	begun := false
	for number, line := range strings.Split(string(raw), "\n") {
		mark := strings.HasPrefix(line, "---") || strings.HasPrefix(line, "...")
		if mark && begun {
			m.Line = number + 1
			return m
		}
		text := strings.TrimSpace(line)
		begun = begun || mark || text != "" && !strings.HasPrefix(text, "#")
	}
	return m
}

func lineOf(raw []byte, number int) string {
	lines := bytes.Split(raw, []byte("\n"))
	if number < 1 || number > len(lines) {
		return ""
	}
	return string(lines[number-1])
}
