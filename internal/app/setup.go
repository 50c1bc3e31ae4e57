package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// setupLook is how often it is looked whether the set-up link is still good.
const setupLook = 2 * time.Second

// SetupLinkPath is where the first start leaves the one-time link with which
// the first operator is made. Only the service's user can read the file.
func SetupLinkPath(dataDir string) string { return filepath.Join(dataDir, "setup-link.txt") }

// prepareSetup leaves a fresh set-up link in its file while there is no
// operator, and removes what an earlier run left otherwise. The log says where
// the link is, never what it is.
func (a *App) prepareSetup(ctx context.Context) error {
	path := SetupLinkPath(a.cfg.DataDir)
	needed, err := a.Access.NeedsSetup(ctx)
	if err != nil {
		return err
	}
	if !needed {
		return removeFile(path)
	}
	link, until, err := a.Access.IssueSetup(ctx, event.System())
	if err != nil {
		return err
	}
	if err := writePrivate(path, a.cfg.PublicURL.String()+"/setup/"+link.Reveal()+"\n"); err != nil {
		return &fault.Error{
			ID: "app.setup_link", Kind: fault.Invalid, Field: "data_dir", Text: fmt.Sprintf("The set-up link cannot be written to %s.", path),
			Who: []fault.Who{fault.Operator}, Remedy: "Remove what stands there, and give the service's user write access to the folder.", Err: err,
		}
	}
	a.setup = link
	a.log.InfoContext(ctx, "there is no operator yet: open the link in this file to make the first one", "file", path, "until", until)
	return nil
}

// watchSetup removes the file of the set-up link as soon as the link is good for
// nothing: an operator exists, it was spent or replaced, it has expired, or the
// server ends (the next start makes a new one).
func (a *App) watchSetup(ctx context.Context) error {
	if a.setup.IsZero() {
		return nil
	}
	path := SetupLinkPath(a.cfg.DataDir)
	tick := time.NewTicker(setupLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return removeFile(path)
		case <-tick.C:
		}
		good, err := a.setupGood(ctx)
		if err != nil {
			a.log.DebugContext(ctx, "look at the set-up link", "error", err)
			continue
		}
		if good {
			continue
		}
		a.setup = seal.Secret{}
		a.log.InfoContext(ctx, "the set-up link is no longer good; its file is removed", "file", path)
		return removeFile(path)
	}
}

func (a *App) setupGood(ctx context.Context) (bool, error) {
	if _, err := a.Access.CheckSetup(ctx, a.setup.Reveal()); fault.Has(err, "setup.spent") {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return a.Access.NeedsSetup(ctx)
}

// writePrivate puts a file for the service's user alone in the place of
// whatever stands there; nobody finds it half written.
func writePrivate(path, content string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeFile(f.Name()))
		}
	}()
	if _, err := f.WriteString(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
