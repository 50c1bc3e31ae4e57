package web

// snippets show how a receiver checks signatures, by language.
func snippets() []option {
	return []option{
		{Label: "Go", Value: `import standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

verifier, err := standardwebhooks.NewWebhook(os.Getenv("WEBHOOK_SECRET"))

http.HandleFunc("POST /hook", func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || verifier.Verify(body, r.Header) != nil {
		http.Error(w, "wrong signature", http.StatusUnauthorized)
		return
	}
	// r.Header.Get("webhook-id") is the same when a delivery is repeated.
	w.WriteHeader(http.StatusNoContent)
})`},
		{Label: "Node", Value: `import express from "express";
import { Webhook } from "standardwebhooks";

const verifier = new Webhook(process.env.WEBHOOK_SECRET);
const app = express();

app.post("/hook", express.raw({ type: "*/*" }), (req, res) => {
  try {
    verifier.verify(req.body.toString(), req.headers);
  } catch {
    return res.sendStatus(401);
  }
  // req.headers["webhook-id"] is the same when a delivery is repeated.
  res.sendStatus(204);
});`},
		{Label: "Python", Value: `import os
from flask import Flask, request
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

verifier = Webhook(os.environ["WEBHOOK_SECRET"])
app = Flask(__name__)

@app.post("/hook")
def hook():
    try:
        verifier.verify(request.get_data(as_text=True), request.headers)
    except WebhookVerificationError:
        return "", 401
    # request.headers["webhook-id"] is the same when a delivery is repeated.
    return "", 204`},
	}
}
