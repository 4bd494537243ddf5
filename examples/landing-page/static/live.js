// Keeps a waiting page up to date. Without it the page loads itself again every five seconds.
"use strict";

const main = document.querySelector("main[data-events]");

// Loads the page again once it is there: while our server is away, a proxy's page would be instead.
async function reload() {
  try {
    const { ok, status } = await fetch(location.href);
    if (ok || status === 404) return location.reload();
  } catch {
    // not reached: try again
  }
  setTimeout(reload, 5000);
}

function show(event) {
  const { state, headline, detail } = JSON.parse(event.data);
  if (state !== "waiting") {
    this.close();
    reload();
    return;
  }
  for (const [id, text] of Object.entries({ headline, detail })) {
    const element = document.getElementById(id);
    if (element.textContent !== text) element.textContent = text; // or it would be read out again
  }
}

if (main && "EventSource" in window) {
  const events = new EventSource(main.dataset.events);
  events.addEventListener("message", show);
  // A lost connection is opened again by the browser; one that was refused is not.
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(reload, 5000);
  });
} else if (main) {
  setTimeout(reload, 5000);
}
