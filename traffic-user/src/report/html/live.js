'use strict';
// Brings a page up to date while its capture runs. What the user chose to see stays as it is.
(() => {
  const bar = document.querySelector('.live');
  const state = bar.querySelector('[role=status]');
  const parser = new DOMParser();

  function say(text, kind) {
    state.textContent = text;
    bar.className = `live ${kind}`;
  }

  const titleOf = (card) => card.querySelector('h2').textContent;

  function refresh(old, fresh) {
    const note = old.querySelector('.note'), freshNote = fresh.querySelector('.note');
    if (note && freshNote) note.replaceWith(freshNote);
    const legend = old.querySelector('.legend');
    if (legend) legend.replaceWith(fresh.querySelector('.legend'));
    const list = old.querySelector('.card > ul');
    if (list) list.replaceWith(fresh.querySelector('.card > ul'));
    const table = old.querySelector('table');
    if (table) {
      table.tBodies[0].replaceChildren(...fresh.querySelector('table').tBodies[0].rows);
      table.dispatchEvent(new Event('rows', { bubbles: true }));
    }
  }

  // Cards have the same order everywhere; new ones go behind the one that they follow.
  function merge(into, from) {
    const known = new Map([...into.children].filter((node) => node.matches('.card')).map((card) => [titleOf(card), card]));
    let before = [...into.children].findLast((node) => node.matches('dl')) ?? null;
    for (const fresh of [...from.children].filter((node) => node.matches('.card'))) {
      let card = known.get(titleOf(fresh));
      if (card) {
        refresh(card, fresh);
      } else {
        card = document.importNode(fresh, true);
        if (before) before.after(card);
        else into.prepend(card);
        card.querySelector('table')?.dispatchEvent(new Event('rows', { bubbles: true }));
      }
      before = card;
    }
  }

  function update({ content, timeline, over }) {
    const fresh = parser.parseFromString(content, 'text/html').body;
    for (const part of ['.verdict', 'header', 'dl.figures']) {
      document.querySelector(part).replaceWith(document.importNode(fresh.querySelector(part), true));
    }
    const places = (root) => [root.querySelector('main'), ...root.querySelectorAll('.columns > div')];
    const sources = places(fresh);
    places(document).forEach((place, index) => merge(place, sources[index]));
    document.dispatchEvent(new CustomEvent('timeline', { detail: timeline }));
    if (over) say('The capture has ended.', 'over');
    else say('Live', '');
  }

  const events = new EventSource('events');
  events.addEventListener('message', (event) => {
    const news = JSON.parse(event.data);
    if (news.over) events.close();
    update(news);
  });
  events.addEventListener('error', () => {
    if (!bar.classList.contains('over')) say('Not connected; trying again…', 'away');
  });
})();
