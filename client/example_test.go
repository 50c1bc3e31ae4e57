package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/mailgrant/mailgrant/client"
)

// A program borrows an access token, and says what is wrong where there is none.
func Example() {
	c, err := client.New(client.Options{Server: "https://mail.example.org", APIKey: os.Getenv("MAILGRANT_API_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	token, err := c.Token(context.Background(), "servicedesk@example.org", client.TokenRequest{MinTTL: "10m"})
	var refused *client.Problem
	switch {
	case errors.As(err, &refused):
		fmt.Println(refused.Detail, refused.Remedy, refused.Who)
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println("good until", token.ExpiresAt)
	}
}

// A message is handed over once, however often the program tries.
func ExampleClient_Submit() {
	c, err := client.New(client.Options{Server: "https://mail.example.org", APIKey: os.Getenv("MAILGRANT_API_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	s, err := c.Submit(context.Background(), "ticket-4711-reply-1", client.Draft{
		From: client.Party{Address: "servicedesk@example.org"}, To: []client.Party{{Address: "adele@example.org"}},
		Subject: "The printer", Text: "It is out.",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.ID, s.State)
}

// Events are followed from where an earlier run of the program stopped.
func ExampleClient_Follow() {
	c, err := client.New(client.Options{Server: "https://mail.example.org", APIKey: os.Getenv("MAILGRANT_API_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range c.Follow(context.Background(), client.EventFilter{Kinds: []string{"grant.*", "submission.*"}, After: "0193d3a1-6b3c-7c2e-9a51-2f0d8b7c4e10"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.At, e.Kind, e.Text)
	}
}

// A list is walked page by page, as long as the program wants more.
func ExampleClient_Mailboxes() {
	c, err := client.New(client.Options{Server: "https://mail.example.org", APIKey: os.Getenv("MAILGRANT_API_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	for m, err := range c.Mailboxes(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Address)
	}
}
