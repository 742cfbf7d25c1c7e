// Live rows, rows that open in place, and times in the zone of the browser. Every page works without it.
"use strict";
(() => {
  document.documentElement.classList.add("has-script");

  const $ = (id) => document.getElementById(id);

  // Times: the zone of the browser, with the offset in the heading and UTC in the tooltip.
  const two = (number) => String(number).padStart(2, "0");
  const offset = (date) => {
    const minutes = -date.getTimezoneOffset();
    const size = Math.abs(minutes);
    return `UTC${minutes < 0 ? "−" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
  };
  const localize = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const date = new Date(time.dateTime);
      if (Number.isNaN(date.getTime())) continue;
      const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
      const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
      const today = new Date().toDateString() === date.toDateString();
      const full = "full" in time.dataset;
      time.textContent = full ? `${day} ${clock} ${offset(date)}` : today ? clock : `${day.slice(5)} ${clock}`;
      time.title = date.toISOString().replace("T", " ").replace("Z", " UTC");
    }
  };
  localize(document);
  if ($("zone")) $("zone").textContent = `Times in ${offset(new Date())}`;

  // Selections that need no button.
  for (const select of document.querySelectorAll("select[data-submit]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }

  // Activity keeps the session open, at most one request a minute.
  const isLoggedIn = document.querySelector("header.top") !== null;
  const root = isLoggedIn ? new URL(document.querySelector(".brand").href).pathname.replace(/[^/]*$/, "") : "";
  let lastSeen = Date.now();
  const seen = () => {
    if (!isLoggedIn || Date.now() - lastSeen < 60000) return;
    lastSeen = Date.now();
    fetch(`${root}session`, { headers: { Accept: "text/plain" } }).then((answer) => {
      if (answer.status === 401) location.reload();
    }).catch(() => {});
  };
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, seen, { passive: true });

  const rows = $("rows");
  if (!rows) return;

  // A row opens in place. Its address stays a page of its own.
  const links = () => [...rows.querySelectorAll("a.cells")];
  const close = (link) => {
    link.removeAttribute("aria-expanded");
    link.parentElement.classList.remove("open");
    link.parentElement.querySelector(".detail")?.remove();
  };
  const open = async (link) => {
    for (const other of rows.querySelectorAll("a.cells[aria-expanded]")) if (other !== link) close(other);
    link.setAttribute("aria-expanded", "true");
    link.parentElement.classList.add("open");
    const address = new URL(link.href);
    address.searchParams.set("part", "");
    let answer;
    try {
      answer = await fetch(address);
    } catch {
      location.assign(link.href);
      return;
    }
    if (!answer.ok) {
      location.assign(link.href);
      return;
    }
    // markup of this server, in which all text of callers is escaped
    const part = document.createRange().createContextualFragment(await answer.text());
    if (!link.hasAttribute("aria-expanded")) return;
    link.parentElement.querySelector(".detail")?.remove();
    link.parentElement.append(part);
    localize(link.parentElement);
  };
  rows.addEventListener("click", (event) => {
    const link = event.target.closest("a.cells");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    if (getSelection().toString() && getSelection().containsNode(link, true)) return event.preventDefault();
    event.preventDefault();
    if (link.hasAttribute("aria-expanded")) close(link);
    else open(link);
  });
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input, select, textarea");
    if (field || event.altKey || event.ctrlKey || event.metaKey) return;
    const current = event.target.closest("li.row")?.querySelector("a.cells");
    if (event.key === "Escape") {
      const opened = current?.hasAttribute("aria-expanded") ? current : rows.querySelector("a.cells[aria-expanded]");
      if (opened) {
        close(opened);
        opened.focus();
      }
      return;
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    // below an opened row the arrows scroll its text
    if (current && event.target !== current) return;
    const all = links();
    const step = event.key === "ArrowDown" ? 1 : -1;
    const next = current ? all[all.indexOf(current) + step] : all[0];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });

  // Live rows.
  const MAX_ROWS = 300;
  const MAX_WAITING = 300;
  const live = $("live");
  const pause = $("pause");
  const waiting = $("waiting");
  if (!rows.dataset.stream || !live || !("EventSource" in window)) return;
  const queue = [];
  let left = 0;
  let isPaused = false;
  const counts = { accepted: $("accepted"), refused: $("refused") };
  const title = document.title;
  const say = (text, kind) => {
    live.querySelector(".dot").className = `dot ${kind}`;
    live.lastElementChild.textContent = text;
  };
  // new rows never move what is being read
  const isReading = () =>
    isPaused || scrollY > 40 || rows.querySelector(".open") !== null || document.activeElement?.closest("li.row");
  const known = (row) => rows.querySelector(`li.row[data-sid="${CSS.escape(row.dataset.sid)}"]`) !== null;
  const show = () => {
    for (const row of queue.splice(0)) {
      if (known(row)) continue;
      row.classList.add("new");
      rows.prepend(row);
      localize(row);
      const word = row.querySelector(".outcome").lastChild.textContent.trim();
      if (counts[word]) counts[word].textContent = String(Number(counts[word].textContent) + 1);
    }
    while (rows.children.length > MAX_ROWS) rows.lastElementChild.remove();
    $("empty")?.remove();
    left = 0;
    update();
  };
  const update = () => {
    const count = queue.length + left;
    waiting.hidden = count === 0;
    waiting.textContent = `Show ${count.toLocaleString("en")} new`;
    document.title = count === 0 ? title : `(${count}) ${title}`;
  };
  const add = (row) => {
    queue.push(row);
    if (queue.length > MAX_WAITING) {
      queue.shift();
      left += 1;
    }
    if (isReading()) update();
    else show();
  };
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Resume" : "Pause";
    pause.setAttribute("aria-pressed", String(isPaused));
    say(isPaused ? "paused" : "live", isPaused ? "quiet" : "good");
    if (!isPaused && !isReading()) show();
  });
  waiting.addEventListener("click", () => {
    for (const link of rows.querySelectorAll("a.cells[aria-expanded]")) close(link);
    show();
    scrollTo(0, 0);
  });
  addEventListener("scroll", () => {
    if (queue.length > 0 && !isReading()) show();
  }, { passive: true });

  const source = new EventSource(rows.dataset.stream);
  const notice = (place, text) => {
    const line = document.createElement("p");
    line.className = "notice warn";
    line.textContent = `! ${text}`;
    $(place).replaceChildren(line);
  };
  let wasOpen = false;
  source.addEventListener("open", () => {
    say(isPaused ? "paused" : "live", isPaused ? "quiet" : "good");
    if (wasOpen) notice("interrupted", "The connection was interrupted: decisions made meanwhile are missing. Reload the page to see them.");
    wasOpen = true;
  });
  source.addEventListener("row", (event) => {
    const part = document.createRange().createContextualFragment(event.data);
    const row = part.querySelector("li.row");
    if (row) add(row);
  });
  source.addEventListener("left-out", (event) => {
    say(`live, ${Number(event.data).toLocaleString("en")} left out`, "warn");
  });
  source.addEventListener("silent", (event) => {
    notice("silent", `${event.data}. Its decisions are missing.`);
  });
  source.addEventListener("end", () => {
    source.close();
    say("logged out", "bad");
    location.reload();
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) {
      say("connecting", "quiet");
      return;
    }
    say("not live", "bad");
    fetch(`${root}session?idle`).then((answer) => {
      if (answer.status === 401) location.reload();
    }).catch(() => {});
  });
})();
