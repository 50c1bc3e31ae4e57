package exchange

import (
	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

// view is a folder as one connection sees it: changes by others reach it only
// when the protocol allows, so sequence numbers stay the client's.
type view struct {
	folder   *folder
	readOnly bool
	tracker  *imapserver.SessionTracker
	wake     chan struct{} // holds one; filled when there is something to poll
}

// open selects the folder and describes it.
func (f *folder) open(readOnly bool) (*view, *imap.SelectData) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := &view{folder: f, readOnly: readOnly, tracker: f.tracker.NewSession(), wake: make(chan struct{}, 1)}
	f.views[v] = struct{}{}
	data := &imap.SelectData{
		Flags:          keptFlags(),
		PermanentFlags: keptFlags(),
		NumMessages:    uint32(len(f.items)),
		UIDNext:        f.uidNext,
		UIDValidity:    f.uidValidity,
	}
	if readOnly {
		data.PermanentFlags = nil
	}
	for i, it := range f.items {
		if !it.flags[imap.FlagSeen] {
			data.FirstUnseenSeqNum = uint32(i) + 1
			break
		}
	}
	return v, data
}

func (v *view) close() {
	v.folder.mu.Lock()
	delete(v.folder.views, v)
	v.folder.mu.Unlock()
	v.tracker.Close()
}

// idle writes changes as they come until stop is closed.
func (v *view) idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	for {
		// Poll first: something may have come between the last command and
		// this one, and it must not wait for the next change.
		if err := v.tracker.Poll(w, true); err != nil {
			return err
		}
		select {
		case <-v.wake:
		case <-stop:
			return nil
		}
	}
}

// seen is a message as chosen for an answer: its number in the client's
// counting (0 if the client does not know it yet) and its flags at that moment.
type seen struct {
	*item
	number uint32
	flags  []imap.Flag
}

// pick returns the messages of a set, after letting change edit each under the
// folder's lock; change reports whether the flags are other than before, which
// is then told to all other connections. change may be nil.
func (v *view) pick(set imap.NumSet, change func(*item) bool) []seen {
	f := v.folder
	f.mu.Lock()
	defer f.mu.Unlock()
	set = v.staticLocked(set)
	var picked []seen
	changed := false
	for i, it := range f.items {
		number := v.tracker.EncodeSeqNum(uint32(i) + 1)
		if number == 0 || !contains(set, number, it.uid) {
			continue
		}
		if change != nil && change(it) {
			changed = true
			f.tracker.QueueMessageFlags(uint32(i)+1, it.uid, it.flags.list(), v.tracker)
		}
		picked = append(picked, seen{item: it, number: number, flags: it.flags.list()})
	}
	if changed {
		f.wakeLocked()
	}
	return picked
}

// take removes the messages of a set from the folder and returns them.
func (v *view) take(set imap.NumSet) []*item {
	chosen := make(map[*item]bool)
	for _, s := range v.pick(set, nil) {
		chosen[s.item] = true
	}
	v.folder.mu.Lock()
	defer v.folder.mu.Unlock()
	return v.folder.removeLocked(func(it *item) bool { return chosen[it] })
}

func contains(set imap.NumSet, number uint32, uid imap.UID) bool {
	switch set := set.(type) {
	case imap.SeqSet:
		return set.Contains(number)
	case imap.UIDSet:
		return set.Contains(uid)
	}
	return false
}

// staticLocked returns a copy of the set in which "*" stands for the highest
// number in use.
func (v *view) staticLocked(set imap.NumSet) imap.NumSet {
	switch set := set.(type) {
	case imap.SeqSet:
		var static imap.SeqSet
		last := uint32(len(v.folder.items))
		for _, r := range set {
			start, stop := ordered(r.Start, r.Stop, last)
			static.AddRange(start, stop)
		}
		return static
	case imap.UIDSet:
		var static imap.UIDSet
		last := uint32(v.folder.uidNext) - 1
		for _, r := range set {
			start, stop := ordered(uint32(r.Start), uint32(r.Stop), last)
			static.AddRange(imap.UID(start), imap.UID(stop))
		}
		return static
	}
	return set
}

// ordered resolves "*" (0) to last and puts the ends of a range in order. In
// an empty folder there is nothing to resolve to; 1 matches nothing then.
func ordered(start, stop, last uint32) (uint32, uint32) {
	last = max(last, 1)
	if start == 0 {
		start = last
	}
	if stop == 0 {
		stop = last
	}
	return min(start, stop), max(start, stop)
}
