// What the pages gain with scripting. Every page works without it.
"use strict";

// Copy buttons: hidden in the markup, because without scripting they would do nothing.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || !navigator.clipboard) continue;
  button.hidden = false;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(source.textContent.trim());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1600);
  });
}

// Times stay in UTC as text; a pointer resting on one shows the visitor's own clock and the distance.
const distance = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  const seconds = (at - Date.now()) / 1000;
  const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? units.at(-1);
  time.title = `${distance.format(Math.round(seconds / size), unit)} · ${at.toLocaleString()}`;
}

// Actions that take something away ask once more.
for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.confirmed) return;
    event.preventDefault();
    ask(form.dataset.confirm, event.submitter?.textContent ?? "Continue", () => {
      form.dataset.confirmed = "yes";
      form.requestSubmit();
    });
  });
}

function ask(question, action, proceed) {
  const dialog = document.createElement("dialog");
  dialog.className = "dialog";
  const text = document.createElement("p");
  text.id = "question";
  text.textContent = question;
  dialog.setAttribute("aria-labelledby", text.id);
  const buttons = document.createElement("div");
  buttons.className = "actions";
  const keep = document.createElement("button");
  keep.className = "button";
  keep.textContent = "Cancel";
  keep.autofocus = true;
  keep.addEventListener("click", () => dialog.close());
  const go = document.createElement("button");
  go.className = "button danger";
  go.textContent = action;
  go.addEventListener("click", () => { dialog.close(); proceed(); });
  buttons.append(keep, go);
  dialog.append(text, buttons);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

// `/` goes to the search, unless the visitor is typing.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const search = document.getElementById("search");
  if (!search) return;
  event.preventDefault();
  search.focus();
});

// A form that came back with errors puts the visitor where they are listed.
document.getElementById("error-summary")?.focus();

// The message of an action is said once: a reload does not repeat it.
if (new URLSearchParams(location.search).has("done")) {
  const address = new URL(location.href);
  address.searchParams.delete("done");
  history.replaceState(null, "", address);
}
