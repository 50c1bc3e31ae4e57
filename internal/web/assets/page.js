// Small comforts; every page works without them.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const before = button.dataset.before ??= button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    button.textContent = "Copied";
  } catch {
    // A browser may refuse; then the text is marked, for the person to copy.
    getSelection().selectAllChildren(source);
    button.textContent = "Marked: copy it with Ctrl+C";
  }
  setTimeout(() => { button.textContent = before; }, 3000);
});

// Exact moments in the reader's own time zone, also in what comes later.
const exact = (root) => {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.valueOf())) time.title = at.toLocaleString();
  }
};
exact(document);
document.addEventListener("htmx:after:swap", () => exact(document));

// A timeline that is followed: what comes waits behind a button, so that nothing
// moves under the reader's eyes.
for (const live of document.querySelectorAll("[data-live]")) {
  const [follow, more] = live.querySelectorAll("button");
  const status = live.querySelector("[role=status]");
  const address = new URL(live.dataset.live, location.href);
  let source, waiting = [];
  // A list that was read anew meanwhile, or later than the stream's beginning, has
  // some of it already.
  const shown = (id) => document.getElementById(`event-${id}`);
  const stop = (why) => {
    source?.close();
    source = undefined;
    follow.setAttribute("aria-pressed", "false");
    follow.textContent = "Follow what comes";
    status.textContent = why;
  };
  follow.addEventListener("click", () => {
    if (source) return stop("");
    source = new EventSource(address);
    follow.setAttribute("aria-pressed", "true");
    follow.textContent = "Stop following";
    status.textContent = "Following.";
    source.onmessage = (event) => {
      address.searchParams.set("after", event.lastEventId); // where to go on, once stopped
      const { lastEventId: id, data } = event;
      if (shown(id) || waiting.some((w) => w.id === id)) return;
      waiting.unshift({ id, data });
      if (waiting.length > 500) waiting.length = 500;
      more.textContent = waiting.length === 1 ? "1 new event" : `${waiting.length} new events`;
      more.hidden = false;
    };
    source.onerror = () => {
      // A browser comes again by itself, unless the answer was no stream.
      if (source?.readyState === EventSource.CLOSED) stop("Following has ended. Look again, or sign in again.");
    };
  });
  more.addEventListener("click", () => {
    const list = document.getElementById(live.dataset.into);
    if (!list) return location.reload();
    list.insertAdjacentHTML("afterbegin", waiting.filter((w) => !shown(w.id)).map((w) => w.data).join(""));
    waiting = [];
    more.hidden = true;
    exact(list);
    follow.focus();
  });
  live.hidden = false;
}

// A form whose answer comes in parts, such as the steps of a test, shows each as
// it comes. A part takes the place of what has its id, else it is put into
// #rungs, else into the element that the form names.
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-parts]");
  if (!form) return;
  event.preventDefault();
  const target = document.getElementById(form.dataset.parts);
  const button = form.querySelector("button[type=submit]");
  button.disabled = true;
  target.replaceChildren();
  const place = (html) => {
    const piece = document.createElement("template");
    piece.innerHTML = html.trim();
    const part = piece.content.firstElementChild;
    if (!part) return;
    const present = part.id && document.getElementById(part.id);
    if (present) present.replaceWith(part);
    else (target.querySelector("#rungs") ?? target).append(part);
    exact(target);
  };
  let begun = false;
  try {
    const answer = await fetch(form.action, { method: "POST", headers: { "HX-Request": "true" }, body: new URLSearchParams(new FormData(form)) });
    const elsewhere = answer.headers.get("HX-Redirect");
    if (elsewhere) { location.assign(elsewhere); return; }
    if (answer.status === 422) { form.submit(); return; }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n<!-- part -->\n");
      rest = parts.pop();
      begun ||= parts.length > 0;
      parts.forEach(place);
    }
    place(rest);
  } catch {
    // A test that broke off is not begun again by itself: it may have sent a message.
    if (begun) place('<p class="mg-bad" role="alert">The connection broke before the test ended. Test again to see the rest.</p>');
    else form.submit();
  } finally {
    button.disabled = false;
  }
});
