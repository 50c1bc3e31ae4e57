package imap

import (
	"context"
	"slices"
	"strings"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

// FindSent looks for a Message-ID in the folder of sent messages: the one marked
// \Sent (RFC 6154), else one of the usual names.
func (c *Client) FindSent(ctx context.Context, at protocol.Endpoint, login protocol.Login, messageID string) (bool, error) {
	s, err := c.open(ctx, at, login, protocol.Climb{})
	if err != nil {
		return false, err
	}
	defer func() { _ = s.Close() }()
	folder, err := s.sentFolder(ctx)
	if err != nil {
		return false, err
	}
	if _, err := s.choose(ctx, folder, true); err != nil {
		return false, err
	}
	var found *goimap.SearchData
	err = s.await(ctx, commandTimeout, func() (err error) {
		found, err = s.client.UIDSearch(&goimap.SearchCriteria{
			Header: []goimap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: messageID}},
		}, nil).Wait()
		return err
	})
	return err == nil && len(found.AllUIDs()) > 0, err
}

func (s *session) sentFolder(ctx context.Context) (string, error) {
	options := &goimap.ListOptions{ReturnSpecialUse: s.caps.Has(goimap.CapSpecialUse)}
	var list []*goimap.ListData
	if err := s.await(ctx, commandTimeout, func() (err error) {
		list, err = s.client.List("", "*", options).Collect()
		return err
	}); err != nil {
		return "", err
	}
	named := ""
	for _, l := range list {
		if slices.Contains(l.Attrs, goimap.MailboxAttrSent) {
			return l.Mailbox, nil
		}
		name := strings.ToLower(l.Mailbox)
		if i := strings.LastIndexAny(name, "./"); i >= 0 && strings.HasPrefix(name, "inbox") {
			name = name[i+1:]
		}
		if named == "" && slices.Contains([]string{"sent items", "sent", "sent messages", "sent mail"}, name) {
			named = l.Mailbox
		}
	}
	if named != "" {
		return named, nil
	}
	return "", &fault.Error{
		ID: "imap.no_sent_folder", Kind: fault.NotFound, Text: "The mailbox has no folder of sent messages that could be recognised.",
		Who: []fault.Who{fault.Nobody}, Remedy: "Nothing has to be done: whether a message was sent is then not looked up there.",
	}
}
