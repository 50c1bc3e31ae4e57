package exchange

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

// keptFlags are the flags that Exchange keeps; other keywords are dropped
// without a word.
func keptFlags() []imap.Flag {
	return []imap.Flag{
		imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft, imap.FlagMDNSent,
	}
}

// flagSet is a set of kept flags in their canonical spelling.
type flagSet map[imap.Flag]bool

func newFlagSet(flags []imap.Flag) flagSet {
	set := make(flagSet)
	set.change(flags, true)
	return set
}

func (s flagSet) change(flags []imap.Flag, on bool) {
	for _, kept := range keptFlags() {
		for _, flag := range flags {
			if !strings.EqualFold(string(flag), string(kept)) {
				continue
			}
			if on {
				s[kept] = true
			} else {
				delete(s, kept)
			}
		}
	}
}

func (s flagSet) has(flag imap.Flag) bool {
	for kept := range s {
		if strings.EqualFold(string(kept), string(flag)) {
			return true
		}
	}
	return false
}

func (s flagSet) list() []imap.Flag {
	flags := make([]imap.Flag, 0, len(s))
	for _, kept := range keptFlags() {
		if s[kept] {
			flags = append(flags, kept)
		}
	}
	return flags
}

func imapFlags(names []string) []imap.Flag {
	flags := make([]imap.Flag, len(names))
	for i, name := range names {
		flags[i] = imap.Flag(name)
	}
	return flags
}

// item is a message in a folder. All but flags stays as it was made.
type item struct {
	uid      imap.UID
	raw      []byte
	received time.Time
	flags    flagSet // under the folder's lock
}

// folder is a sequence of messages and those who watch it.
type folder struct {
	use         imap.MailboxAttr
	uidValidity uint32

	mu         sync.Mutex
	name       string
	subscribed bool
	items      []*item
	uidNext    imap.UID
	tracker    *imapserver.MailboxTracker
	views      map[*view]struct{}
}

func newFolder(name string, use imap.MailboxAttr, uidValidity uint32) *folder {
	return &folder{
		name: name, use: use, uidValidity: uidValidity, uidNext: 1, subscribed: true,
		tracker: imapserver.NewMailboxTracker(0),
		views:   make(map[*view]struct{}),
	}
}

func (f *folder) standard() bool { return f.use != "" || f.displayName() == "INBOX" }

func (f *folder) displayName() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.name
}

func (f *folder) setName(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.name = name
}

// wakeLocked tells all who idle on the folder that there is something to say.
func (f *folder) wakeLocked() {
	for v := range f.views {
		select {
		case v.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}

// add puts a message at the end of the folder and returns its UID.
func (f *folder) add(raw []byte, received time.Time, flags []imap.Flag) imap.UID {
	f.mu.Lock()
	defer f.mu.Unlock()
	it := &item{uid: f.uidNext, raw: raw, received: received, flags: newFlagSet(flags)}
	f.uidNext++
	f.items = append(f.items, it)
	f.tracker.QueueNumMessages(uint32(len(f.items)))
	f.wakeLocked()
	return it.uid
}

// removeLocked takes out the items for which gone says so and returns them in
// ascending order of UID.
func (f *folder) removeLocked(gone func(*item) bool) []*item {
	var removed []*item
	for i := len(f.items) - 1; i >= 0; i-- {
		it := f.items[i]
		if !gone(it) {
			continue
		}
		f.items = slices.Delete(f.items, i, i+1)
		f.tracker.QueueExpunge(uint32(i) + 1)
		removed = append(removed, it)
	}
	slices.Reverse(removed)
	if len(removed) > 0 {
		f.wakeLocked()
	}
	return removed
}

// expunge removes the messages marked deleted, within uids unless it is nil.
func (f *folder) expunge(uids *imap.UIDSet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removeLocked(func(it *item) bool {
		return it.flags[imap.FlagDeleted] && (uids == nil || uids.Contains(it.uid))
	})
}

// snapshot returns the folder's messages in order.
func (f *folder) snapshot() []Stored {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Stored, len(f.items))
	for i, it := range f.items {
		flags := make([]string, 0, len(it.flags))
		for _, flag := range it.flags.list() {
			flags = append(flags, string(flag))
		}
		all[i] = Stored{
			Folder: f.name, UID: uint32(it.uid), UIDValidity: f.uidValidity,
			Flags: flags, Received: it.received, Raw: slices.Clone(it.raw),
		}
	}
	return all
}

func (f *folder) countLocked(flag imap.Flag) (n uint32) {
	for _, it := range f.items {
		if it.flags[flag] {
			n++
		}
	}
	return n
}

// status answers STATUS.
func (f *folder) status(options *imap.StatusOptions) *imap.StatusData {
	f.mu.Lock()
	defer f.mu.Unlock()
	total, seen, deleted := uint32(len(f.items)), f.countLocked(imap.FlagSeen), f.countLocked(imap.FlagDeleted)
	unseen, recent, size := total-seen, uint32(0), int64(0)
	for _, it := range f.items {
		size += int64(len(it.raw))
	}
	data := &imap.StatusData{Mailbox: f.name}
	if options.NumMessages {
		data.NumMessages = &total
	}
	if options.UIDNext {
		data.UIDNext = f.uidNext
	}
	if options.UIDValidity {
		data.UIDValidity = f.uidValidity
	}
	if options.NumUnseen {
		data.NumUnseen = &unseen
	}
	if options.NumDeleted {
		data.NumDeleted = &deleted
	}
	if options.Size {
		data.Size = &size
	}
	if options.DeletedStorage {
		data.DeletedStorage = new(int64)
	}
	if options.NumRecent {
		data.NumRecent = &recent
	}
	return data
}
