package exchange

import (
	"bufio"
	"bytes"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-message/textproto"
)

// errReadOnly answers a change to a folder opened with EXAMINE.
func errReadOnly() error { return no("The folder is opened read-only.") }

// Expunge implements [imapserver.Session]. The numbers reach the client, like
// every other one, through the poll after the command.
func (s *imapSession) Expunge(w *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	if s.view.readOnly {
		// CLOSE of a folder opened read-only removes nothing and is no error;
		// the library tells the two apart by a writer without connection.
		if *w == (imapserver.ExpungeWriter{}) {
			return nil
		}
		return errReadOnly()
	}
	s.view.folder.expunge(uids)
	return nil
}

// Search implements [imapserver.Session].
func (s *imapSession) Search(kind imapserver.NumKind, criteria *imap.SearchCriteria, options *imap.SearchOptions) (*imap.SearchData, error) {
	var (
		data imap.SearchData
		seqs imap.SeqSet
		uids imap.UIDSet
	)
	for _, m := range s.view.search(criteria) {
		number := m.number
		if kind == imapserver.NumKindUID {
			number = uint32(m.uid)
			uids.AddNum(m.uid)
		} else {
			seqs.AddNum(number)
		}
		if data.Count == 0 || number < data.Min {
			data.Min = number
		}
		data.Max = max(data.Max, number)
		data.Count++
	}
	data.All = seqs
	if kind == imapserver.NumKindUID {
		data.All = uids
	}
	return &data, nil
}

// Fetch implements [imapserver.Session]. The folder is not locked while the
// client reads: a slow client holds up nobody.
func (s *imapSession) Fetch(w *imapserver.FetchWriter, set imap.NumSet, options *imap.FetchOptions) error {
	marks := false
	for _, section := range options.BodySection {
		marks = marks || !section.Peek && section.Specifier != imap.PartSpecifierHeader
	}
	var newly map[*item]bool
	var mark func(*item) bool
	if marks && !s.view.readOnly {
		newly = make(map[*item]bool)
		mark = func(it *item) bool {
			if it.flags[imap.FlagSeen] {
				return false
			}
			it.flags[imap.FlagSeen] = true
			newly[it] = true
			return true
		}
	}
	for _, m := range s.view.pick(set, mark) {
		if err := writeMessage(w.CreateMessage(m.number), m, options, newly[m.item]); err != nil {
			return err
		}
	}
	return nil
}

func writeMessage(w *imapserver.FetchResponseWriter, m seen, options *imap.FetchOptions, flagsChanged bool) error {
	if options.UID {
		w.WriteUID(m.uid)
	}
	if options.Flags || flagsChanged {
		w.WriteFlags(m.flags)
	}
	if options.InternalDate {
		w.WriteInternalDate(m.received)
	}
	if options.RFC822Size {
		w.WriteRFC822Size(int64(len(m.raw)))
	}
	if options.Envelope {
		w.WriteEnvelope(envelope(m.raw))
	}
	if options.BodyStructure != nil {
		w.WriteBodyStructure(imapserver.ExtractBodyStructure(bytes.NewReader(m.raw)))
	}
	for _, section := range options.BodySection {
		part := imapserver.ExtractBodySection(bytes.NewReader(m.raw), section)
		body := w.WriteBodySection(section, int64(len(part)))
		_, err := body.Write(part)
		if closeErr := body.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			_ = w.Close() // gives the encoder back; the first error tells more
			return err
		}
	}
	return w.Close()
}

// envelope reads the header fields of ENVELOPE; of a message without a
// readable header it is empty.
func envelope(raw []byte) *imap.Envelope {
	header, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return new(imap.Envelope)
	}
	return imapserver.ExtractEnvelope(header)
}

// Store implements [imapserver.Session].
func (s *imapSession) Store(w *imapserver.FetchWriter, set imap.NumSet, flags *imap.StoreFlags, _ *imap.StoreOptions) error {
	if s.view.readOnly {
		return errReadOnly()
	}
	picked := s.view.pick(set, func(it *item) bool {
		before := len(it.flags)
		was := newFlagSet(it.flags.list())
		if flags.Op == imap.StoreFlagsSet {
			clear(it.flags)
		}
		it.flags.change(flags.Flags, flags.Op != imap.StoreFlagsDel)
		if before != len(it.flags) {
			return true
		}
		for flag := range it.flags {
			if !was[flag] {
				return true
			}
		}
		return false
	})
	if flags.Silent {
		return nil
	}
	for _, m := range picked {
		_, byUID := set.(imap.UIDSet)
		if err := writeMessage(w.CreateMessage(m.number), m, &imap.FetchOptions{Flags: true, UID: byUID}, false); err != nil {
			return err
		}
	}
	return nil
}

// destination finds the folder to copy or move to.
func (s *imapSession) destination(name string) (*folder, error) {
	f := s.box.folder(name)
	if f == nil {
		return nil, &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeTryCreate, Text: name + " doesn't exist."}
	}
	return f, nil
}

// Copy implements [imapserver.Session].
func (s *imapSession) Copy(set imap.NumSet, name string) (*imap.CopyData, error) {
	to, err := s.destination(name)
	if err != nil {
		return nil, err
	}
	data := &imap.CopyData{UIDValidity: to.uidValidity}
	for _, m := range s.view.pick(set, nil) {
		data.SourceUIDs.AddNum(m.uid)
		data.DestUIDs.AddNum(to.add(m.raw, m.received, m.flags))
	}
	if len(data.SourceUIDs) == 0 {
		return nil, nil // no COPYUID for nothing copied
	}
	return data, nil
}

// Move implements [imapserver.SessionMove].
func (s *imapSession) Move(w *imapserver.MoveWriter, set imap.NumSet, name string) error {
	if s.view.readOnly {
		return errReadOnly()
	}
	to, err := s.destination(name)
	if err != nil {
		return err
	}
	if to == s.view.folder {
		return no("The messages are in " + name + " already.")
	}
	// Taken out first, so that two who move the same message do not double it.
	data := &imap.CopyData{UIDValidity: to.uidValidity}
	for _, it := range s.view.take(set) {
		data.SourceUIDs.AddNum(it.uid)
		data.DestUIDs.AddNum(to.add(it.raw, it.received, it.flags.list()))
	}
	if len(data.SourceUIDs) == 0 {
		return nil
	}
	return w.WriteCopyData(data)
}
