package exchange

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// delimiter separates the levels of a folder name.
const delimiter = '/'

// Stored is a message as it lies in a folder.
type Stored struct {
	Folder      string
	UID         uint32
	UIDValidity uint32
	Flags       []string // "\Seen", ...
	Received    time.Time
	Raw         []byte // RFC 5322, with CRLF line ends as it was given
}

// standardFolders are made with each mailbox, with their SPECIAL-USE
// attribute (RFC 6154), in the order in which Exchange lists them.
func standardFolders() []struct {
	name string
	use  imap.MailboxAttr
} {
	return []struct {
		name string
		use  imap.MailboxAttr
	}{
		{"INBOX", ""},
		{"Sent Items", imap.MailboxAttrSent},
		{"Drafts", imap.MailboxAttrDrafts},
		{"Deleted Items", imap.MailboxAttrTrash},
		{"Junk Email", imap.MailboxAttrJunk},
		{"Archive", imap.MailboxAttrArchive},
	}
}

// store holds all mailboxes' mail. Mailboxes are made on first use.
type store struct {
	mu           sync.Mutex
	boxes        map[string]*box
	nextValidity uint32
}

func newStore(now time.Time) *store {
	return &store{boxes: make(map[string]*box), nextValidity: uint32(now.Unix())}
}

// validity returns a UIDVALIDITY never given out before by this store.
func (s *store) validity() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextValidity++
	return s.nextValidity
}

// box returns the mail of the mailbox with this primary address.
func (s *store) box(address string) *box {
	key := strings.ToLower(address)
	s.mu.Lock()
	b, ok := s.boxes[key]
	if !ok {
		b = &box{store: s, folders: make(map[string]*folder)}
		s.boxes[key] = b
	}
	s.mu.Unlock()
	if !ok {
		b.furnish()
	}
	return b
}

// box is one mailbox's folders.
type box struct {
	store   *store
	once    sync.Once
	mu      sync.Mutex
	folders map[string]*folder
}

func (b *box) furnish() {
	b.once.Do(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, f := range standardFolders() {
			b.folders[f.name] = newFolder(f.name, f.use, b.store.validity())
		}
	})
}

// folderName puts INBOX in its one spelling and drops a trailing delimiter.
func folderName(name string) string {
	name = strings.TrimRight(name, string(delimiter))
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

// folder returns the folder of that name, or nil.
func (b *box) folder(name string) *folder {
	b.furnish()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.folders[folderName(name)]
}

// list returns all folders ordered by name, INBOX first.
func (b *box) list() []*folder {
	b.furnish()
	b.mu.Lock()
	all := make([]*folder, 0, len(b.folders))
	names := make(map[*folder]string, len(b.folders))
	for name, f := range b.folders {
		all = append(all, f)
		names[f] = name
	}
	b.mu.Unlock()
	sort.Slice(all, func(i, j int) bool {
		a, z := names[all[i]], names[all[j]]
		if (a == "INBOX") != (z == "INBOX") {
			return a == "INBOX"
		}
		return a < z
	})
	return all
}

// hasChildren says whether a folder lies below name.
func (b *box) hasChildren(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for other := range b.folders {
		if strings.HasPrefix(other, name+string(delimiter)) {
			return true
		}
	}
	return false
}

// create makes a folder. At most maxFolders exist in a mailbox.
func (b *box) create(name string) error {
	const maxFolders = 1000
	b.furnish()
	name = folderName(name)
	if name == "" {
		return fmt.Errorf("a folder needs a name")
	}
	validity := b.store.validity()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.folders[name] != nil {
		return fmt.Errorf("mailbox already exists")
	}
	if len(b.folders) >= maxFolders {
		return fmt.Errorf("a mailbox holds at most %d folders", maxFolders)
	}
	b.folders[name] = newFolder(name, "", validity)
	return nil
}

// remove deletes a folder that is not one of the standard ones.
func (b *box) remove(name string) error {
	b.furnish()
	name = folderName(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.folders[name]
	if f == nil {
		return fmt.Errorf("%s doesn't exist", name)
	}
	if f.standard() {
		return fmt.Errorf("%s cannot be deleted", name)
	}
	delete(b.folders, name)
	return nil
}

// rename gives a folder that is not one of the standard ones another name.
func (b *box) rename(from, to string) error {
	b.furnish()
	from, to = folderName(from), folderName(to)
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.folders[from]
	switch {
	case f == nil:
		return fmt.Errorf("%s doesn't exist", from)
	case f.standard() || to == "":
		return fmt.Errorf("%s cannot be renamed", from)
	case b.folders[to] != nil:
		return fmt.Errorf("mailbox already exists")
	}
	delete(b.folders, from)
	b.folders[to] = f
	f.setName(to)
	return nil
}

// recreate replaces a folder by a new one with the same messages, renumbered
// from UID 1 under another UIDVALIDITY.
func (b *box) recreate(name string) (uint32, error) {
	old := b.folder(name)
	if old == nil {
		return 0, fmt.Errorf("%s doesn't exist", name)
	}
	fresh := newFolder(old.displayName(), old.use, b.store.validity())
	for _, m := range old.snapshot() {
		fresh.add(m.Raw, m.Received, imapFlags(m.Flags))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.folders[folderName(name)] = fresh
	return fresh.uidValidity, nil
}
