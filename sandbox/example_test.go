package sandbox_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mailgrant/mailgrant/sandbox"
	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// The trap: a browser in which Adele is signed in is sent to sign in for the service desk's mailbox, and nobody is asked.
func ExampleStart() {
	ctx := context.Background()
	box, err := sandbox.Start(ctx, sandbox.Options{RedirectURIs: []string{"http://127.0.0.1:1/callback"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = box.Close() }()
	about := box.Describe()

	b := browser.New(browser.Options{})
	if err := b.Open(ctx, about.BaseURL); err != nil {
		log.Fatal(err)
	}
	if err := b.SignIn(ctx, directory.StoryAdele, directory.StoryAdelePassword); err != nil {
		log.Fatal(err)
	}
	// Nobody listens at the redirect URI here, so the last step fails; the sandbox's list of calls says who was taken.
	_ = b.Open(ctx, about.Authorize+"?response_type=code&scope=https://outlook.office.com/IMAP.AccessAsUser.All&client_id="+directory.StoryClientID+
		"&redirect_uri=http://127.0.0.1:1/callback")
	calls := box.World().Calls(0)
	last := calls[len(calls)-1]
	fmt.Println(last.Outcome, "for", last.User)
	// Output: code for AdeleV@vbcpn.onmicrosoft.com
}
