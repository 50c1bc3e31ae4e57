package exchange

import (
	"bytes"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"
)

// search returns the messages that the client knows of and that meet all
// criteria.
func (v *view) search(criteria *imap.SearchCriteria) []seen {
	static := v.staticCriteria(criteria)
	var found []seen
	var all imap.SeqSet
	all.AddRange(1, 0)
	for _, m := range v.pick(all, nil) {
		if m.meets(static) {
			found = append(found, m)
		}
	}
	return found
}

// staticCriteria copies the criteria with every "*" resolved.
func (v *view) staticCriteria(c *imap.SearchCriteria) *imap.SearchCriteria {
	v.folder.mu.Lock()
	defer v.folder.mu.Unlock()
	return v.staticCriteriaLocked(c)
}

func (v *view) staticCriteriaLocked(c *imap.SearchCriteria) *imap.SearchCriteria {
	static := *c
	static.SeqNum, static.UID, static.Not, static.Or = nil, nil, nil, nil
	for _, set := range c.SeqNum {
		if set, ok := v.staticLocked(set).(imap.SeqSet); ok {
			static.SeqNum = append(static.SeqNum, set)
		}
	}
	for _, set := range c.UID {
		if set, ok := v.staticLocked(set).(imap.UIDSet); ok {
			static.UID = append(static.UID, set)
		}
	}
	for _, not := range c.Not {
		static.Not = append(static.Not, *v.staticCriteriaLocked(&not))
	}
	for _, or := range c.Or {
		static.Or = append(static.Or, [2]imap.SearchCriteria{*v.staticCriteriaLocked(&or[0]), *v.staticCriteriaLocked(&or[1])})
	}
	return &static
}

func (m seen) meets(c *imap.SearchCriteria) bool {
	for _, set := range c.SeqNum {
		if !set.Contains(m.number) {
			return false
		}
	}
	for _, set := range c.UID {
		if !set.Contains(m.uid) {
			return false
		}
	}
	if !within(m.received, c.Since, c.Before) || !m.meetsFlags(c) {
		return false
	}
	if c.Larger != 0 && int64(len(m.raw)) <= c.Larger || c.Smaller != 0 && int64(len(m.raw)) >= c.Smaller {
		return false
	}
	if !m.meetsContent(c) {
		return false
	}
	for _, not := range c.Not {
		if m.meets(&not) {
			return false
		}
	}
	for _, or := range c.Or {
		if !m.meets(&or[0]) && !m.meets(&or[1]) {
			return false
		}
	}
	return true
}

func (m seen) meetsFlags(c *imap.SearchCriteria) bool {
	flags := newFlagSet(m.flags)
	for _, flag := range c.Flag {
		if !flags.has(flag) {
			return false
		}
	}
	for _, flag := range c.NotFlag {
		if flags.has(flag) {
			return false
		}
	}
	return true
}

// meetsContent reads the message, and only if a criterion needs it.
func (m seen) meetsContent(c *imap.SearchCriteria) bool {
	if len(c.Header) == 0 && len(c.Text) == 0 && len(c.Body) == 0 && c.SentSince.IsZero() && c.SentBefore.IsZero() {
		return true
	}
	header := mail.Header{Header: m.entity().Header}
	for _, field := range c.Header {
		if !fieldContains(header.FieldsByKey(field.Key), field.Value) {
			return false
		}
	}
	if !c.SentSince.IsZero() || !c.SentBefore.IsZero() {
		sent, err := header.Date()
		if err != nil || !within(sent, c.SentSince, c.SentBefore) {
			return false
		}
	}
	for _, text := range c.Text {
		if !entityContains(m.entity(), text, true) {
			return false
		}
	}
	for _, text := range c.Body {
		if !entityContains(m.entity(), text, false) {
			return false
		}
	}
	return true
}

// entity opens the message for one reading; what cannot be parsed is empty.
func (m seen) entity() *message.Entity {
	entity, _ := message.Read(bytes.NewReader(m.raw)) // an unknown charset still gives an entity
	if entity == nil {
		return &message.Entity{Body: strings.NewReader("")}
	}
	return entity
}

// within compares days without regard to zone, as RFC 3501 section 6.4.4 asks.
func within(t, since, before time.Time) bool {
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	return (since.IsZero() || !day.Before(since)) && (before.IsZero() || day.Before(before))
}

func fieldContains(fields message.HeaderFields, text string) bool {
	text = strings.ToLower(text)
	for fields.Next() {
		value, err := fields.Text()
		if err != nil {
			value = fields.Value()
		}
		if strings.Contains(strings.ToLower(value), text) {
			return true
		}
	}
	return false
}

// maxSearchedPart bounds what SEARCH TEXT and BODY read of a part.
const maxSearchedPart = 1 << 20

func entityContains(entity *message.Entity, text string, withHeader bool) bool {
	if withHeader && fieldContains(entity.Header.Fields(), text) {
		return true
	}
	if parts := entity.MultipartReader(); parts != nil {
		for {
			part, err := parts.NextPart()
			if err != nil && (part == nil || !message.IsUnknownCharset(err)) {
				return false
			}
			if entityContains(part, text, withHeader) {
				return true
			}
		}
	}
	kind, _, err := entity.Header.ContentType()
	if err != nil || !strings.HasPrefix(kind, "text/") && !strings.HasPrefix(kind, "message/") {
		return false
	}
	body, err := io.ReadAll(io.LimitReader(entity.Body, maxSearchedPart))
	return err == nil && bytes.Contains(bytes.ToLower(body), bytes.ToLower([]byte(text)))
}
