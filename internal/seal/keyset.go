package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Sealed is a secret at rest. Its first five bytes name the key that sealed it
// (tink's output prefix), so rows under an old key can be counted and found.
// The zero value is "nothing stored".
type Sealed struct{ ciphertext []byte }

// SealedFromStore wraps bytes that a store read back. Nothing else calls it.
func SealedFromStore(b []byte) Sealed {
	if len(b) == 0 {
		return Sealed{}
	}
	return Sealed{ciphertext: bytes.Clone(b)}
}

// Bytes gives the ciphertext for storing; nil for the zero value.
func (s Sealed) Bytes() []byte { return s.ciphertext }

// IsZero reports whether nothing is sealed.
func (s Sealed) IsZero() bool { return len(s.ciphertext) == 0 }

// KeyID names the key that sealed the value; zero for the zero value.
func (s Sealed) KeyID() uint32 {
	if len(s.ciphertext) < 5 {
		return 0
	}
	return binary.BigEndian.Uint32(s.ciphertext[1:5])
}

// Where binds a sealed value to its row and field, for example
// Where("grant", mailboxID, "refresh_token"). Parts are length-prefixed, so no
// two lists of parts give the same bytes.
func Where(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

// Keyset seals and unseals. It is safe for concurrent use; Rotate takes effect
// for every later Seal while everything sealed before still opens.
type Keyset struct {
	mu     sync.RWMutex
	path   string // empty for a keyset in memory
	handle *keyset.Handle
	aead   tink.AEAD
}

// NewKeyset makes a keyset in memory with one fresh key, for tests and the demo.
func NewKeyset() (*Keyset, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make a keyset: %w", err)
	}
	return fromHandle(h, "")
}

// OpenKeyset reads the key file at path, or makes one with mode 0600 where
// none exists. A file that others may read is refused.
func OpenKeyset(path string) (*Keyset, error) {
	k, err := readKeyset(path)
	if !errors.Is(err, os.ErrNotExist) {
		return k, err
	}
	if k, err = NewKeyset(); err != nil {
		return nil, err
	}
	k.path = path
	if err = k.write(k.handle, true); errors.Is(err, os.ErrExist) {
		return readKeyset(path) // another process made it meanwhile: that one counts
	}
	return k, err
}

func readKeyset(path string) (*Keyset, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, keyFault(path, "The key file cannot be read.", "Give the service user read access to it.", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, keyFault(path, "The key file cannot be read.", "Give the service user read access to it.", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, keyFault(path, fmt.Sprintf("The key file may be read by others (mode %04o).", info.Mode().Perm()), "Run chmod 600 on it, and rotate the keys if others had access.", nil)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, keyFault(path, "The key file is damaged.", "Restore it from the backup; without it no stored token can be opened.", err)
	}
	return fromHandle(h, path)
}

func keyFault(path, text, remedy string, err error) error {
	return &fault.Error{
		ID: "seal.key_file", Kind: fault.Invalid, Field: path, Text: text,
		Who: []fault.Who{fault.Operator}, Remedy: remedy, Err: err,
	}
}

func fromHandle(h *keyset.Handle, path string) (*Keyset, error) {
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("open the keyset: %w", err)
	}
	return &Keyset{path: path, handle: h, aead: a}, nil
}

// write stores the keyset durably: a new file, synced, renamed over the old.
// A first key file never replaces one that another process made meanwhile.
func (k *Keyset) write(h *keyset.Handle, first bool) error {
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&buf)); err != nil {
		return fmt.Errorf("write the keyset: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(k.path), ".keys-*")
	if err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(buf.Bytes())
	if err = errors.Join(err, tmp.Chmod(0o600), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	if first {
		err = os.Link(tmp.Name(), k.path)
	} else {
		err = os.Rename(tmp.Name(), k.path)
	}
	if err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	dir, err := os.Open(filepath.Dir(k.path))
	if err != nil {
		return fmt.Errorf("sync the key folder: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Seal encrypts s for the place that where names. Sealing no secret gives the
// zero Sealed.
func (k *Keyset) Seal(s Secret, where []byte) (Sealed, error) {
	if s.IsZero() {
		return Sealed{}, nil
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	c, err := k.aead.Encrypt([]byte(s.Reveal()), where)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal: %w", err)
	}
	return Sealed{ciphertext: c}, nil
}

// Unseal decrypts; it fails when the value was sealed for another place, with
// a key this keyset does not hold, or has been altered.
func (k *Keyset) Unseal(s Sealed, where []byte) (Secret, error) {
	if s.IsZero() {
		return Secret{}, nil
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	p, err := k.aead.Decrypt(s.ciphertext, where)
	if err != nil {
		return Secret{}, &fault.Error{
			ID: "seal.cannot_open", Kind: fault.Internal,
			Text: "A stored secret cannot be opened with the present key file.", Who: []fault.Who{fault.Operator},
			Remedy: "Restore the key file that belongs to this database.", Err: err,
		}
	}
	return NewSecret(string(p)), nil
}

// Reseal seals an already sealed value under the primary key; changed is false
// when it was under that key already.
func (k *Keyset) Reseal(s Sealed, where []byte) (out Sealed, changed bool, err error) {
	if s.IsZero() || s.KeyID() == k.PrimaryKeyID() {
		return s, false, nil
	}
	plain, err := k.Unseal(s, where)
	if err != nil {
		return Sealed{}, false, err
	}
	out, err = k.Seal(plain, where)
	return out, err == nil, err
}

// PrimaryKeyID names the key that new values are sealed with.
func (k *Keyset) PrimaryKeyID() uint32 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.handle.KeysetInfo().GetPrimaryKeyId()
}

// Knows reports whether the keyset holds a key, by the id that sealed values
// name.
func (k *Keyset) Knows(id uint32) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, key := range k.handle.KeysetInfo().GetKeyInfo() {
		if key.GetKeyId() == id {
			return true
		}
	}
	return false
}

// Rotate adds a fresh key, makes it primary and writes the file before using
// it. Old keys stay, so that nothing sealed before is lost.
func (k *Keyset) Rotate() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := keyset.NewManagerFromHandle(k.handle)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return fmt.Errorf("add a key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return fmt.Errorf("make the new key primary: %w", err)
	}
	h, err := m.Handle()
	if err != nil {
		return fmt.Errorf("open the rotated keyset: %w", err)
	}
	a, err := aead.New(h)
	if err != nil {
		return fmt.Errorf("open the rotated keyset: %w", err)
	}
	if k.path != "" {
		if err := k.write(h, false); err != nil {
			return err
		}
	}
	k.handle, k.aead = h, a
	return nil
}
