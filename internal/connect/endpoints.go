package connect

import (
	"context"

	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

// Endpoints gives where a mailbox receives and sends, by its provider as it is
// now; nil for what it does not do.
func (b *Mailboxes) Endpoints(ctx context.Context, m mailbox.Mailbox) (receive, send *protocol.Endpoint, err error) {
	r, kind, err := b.providers.record(ctx, m.Provider)
	if err != nil {
		return nil, nil, err
	}
	receive, send = m.Endpoints(kind, r)
	return receive, send, nil
}
