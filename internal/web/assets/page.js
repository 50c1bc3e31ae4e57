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
