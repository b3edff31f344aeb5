// Text from outside is put into text nodes, and nowhere else. Characters that reorder a text, or that can't be
// seen in it, are shown as escapes: an id must not look like another one.
const HIDDEN = /(?![\t\n\r])[\p{Bidi_Control}\p{Default_Ignorable_Code_Point}\p{Cc}]/gu;
const escape = unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
const visible = text => text.replace(HIDDEN, char => char.split('').map(escape).join(''));

const $ = id => document.getElementById(id);
const put = (where, text) => { $(where).textContent = visible(text); };
const on = (id, type, act) => $(id).addEventListener(type, event => {
  if (type === 'submit') event.preventDefault();
  act(event);
});
const el = (tag, ...children) => {
  const [name, ...classes] = tag.split('.');
  const node = document.createElement(name);
  node.className = classes.join(' ');
  node.append(...children.map(child => typeof child === 'string' ? visible(child) : child));
  return node;
};
const say = (where, text, kind = '') => {
  $(where).className = `said ${kind}`;
  put(where, text);
};
const number = n => typeof n === 'number' ? n.toLocaleString('en') : '–';
const sum = counts => counts.reduce((a, b) => a + b, 0);
const mono = text => el('span.mono', text);
const utc = text => Object.assign(el('time', text.replace('T', ' ').replace(/(\.\d+)?Z$/, '')), { dateTime: text, title: visible(text) });
const clock = text => text.slice(0, 10) === new Date().toISOString().slice(0, 10) ? text.slice(11, 16) : text.slice(0, 16).replace('T', ' ');
const facts = (...pairs) => el('dl.facts', ...pairs
  .filter(([, value]) => value !== undefined)
  .map(([name, value, show = value => value, ...more]) => el('div', el('dt', name), el('dd', show(value), ...more))));

// Three and a half of the canary's intervals on Cloud Run.
const LATE_CANARY = 35 * 60 * 1000;
// When SvixRelayAuditStandsStill fires.
const LATE_AUDIT = 3 * 60 * 60 * 1000;

let token = '';
let svixUrl; // Known once the status is.
let written; // How many dead letters there have been, likewise.

// Asks the relay; a failure says in words why there is no answer.
async function ask(method, path, seconds = 30, json, more = {}) {
  let reply, text, body;
  try {
    const signal = AbortSignal.timeout(seconds * 1000);
    const headers = { authorization: `Bearer ${token}`, ...json && { 'content-type': 'application/json' }, ...more };
    reply = await fetch(path, { method, signal, redirect: 'error', headers, body: json && JSON.stringify(json) });
    text = await reply.text();
  } catch (error) {
    throw Error(error.name === 'TimeoutError' ? `The relay did not answer within ${seconds} s.` : 'The relay can not be reached.');
  }
  try { body = JSON.parse(text); } catch { /* not the relay's */ }
  if (reply.ok && body) return body;
  const wait = reply.headers.get('retry-after');
  const what = body?.title ? `${body.title}: ${body.detail}.` : `The answer is none of the relay (status ${reply.status}).`;
  const failure = Error(wait ? `${what} Try again in ${wait} s.` : what);
  failure.status = reply.status;
  failure.final = body?.retryable === false;
  if (failure.status === 401) shut(failure.message);
  throw failure;
}

// Asks for what Svix must not do twice. After a failure Svix may have done it, so the next try has the same key.
const keys = new Map();
async function once(method, path, json) {
  const what = path + JSON.stringify(json ?? null);
  if (!keys.has(what)) keys.set(what, [...crypto.getRandomValues(new Uint32Array(4))].join('-'));
  try {
    const body = await ask(method, path, 30, json, { 'idempotency-key': keys.get(what) });
    keys.delete(what);
    return body;
  } catch (failure) {
    if (failure.final) keys.delete(what);
    throw failure;
  }
}

const query = parameters => '?' + Object.entries(parameters)
  .filter(([, value]) => value !== '')
  .map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');

// Signing in and out

on('entry', 'submit', async () => {
  const typed = $('token').value.trim();
  say('refused', '', 'bad');
  try {
    if (!/^[!-~]+$/.test(typed)) throw Error('A token holds only visible ASCII characters.');
    token = typed;
    const { operator: { name, readOnly } } = await ask('GET', 'status');
    put('operator', readOnly ? `${name}, read-only` : name);
    document.body.classList.toggle('reader', readOnly);
  } catch (failure) {
    token = '';
    $('token').select();
    return say('refused', failure.message, 'bad');
  }
  $('token').value = '';
  $('entry').hidden = true;
  $('inside').hidden = $('leave').hidden = false;
  $('status-title').focus();
  refresh();
  load();
});

// The relay refuses the token, which it accepted before.
function shut(reason) {
  if ($('inside').hidden) return;
  token = '';
  put('operator', '');
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  $('inside').hidden = $('leave').hidden = true;
  $('entry').hidden = false;
  say('refused', reason, 'bad');
  $('token').focus();
}

on('leave', 'click', () => location.reload());
// The way back must not lead to a page that still knows the token.
addEventListener('pageshow', event => event.persisted && location.reload());

// Status

let turn = 0;
async function refresh() {
  if (!token || document.hidden) return;
  const mine = ++turn;
  const [ready, status] = await Promise.allSettled([ask('GET', 'readyz', 9), ask('GET', 'status', 9)]);
  if (mine !== turn || !token) return;
  const missing = 'not available';
  const { version = '', time, configuration, deadLetters, audit, canary, endpoints, heldProjects, lastHour, gate = ready.value?.gate } = status.value ?? {};
  svixUrl = configuration?.svix_url;
  written = deadLetters?.written;
  put('version', version);
  $('open-gate').hidden = gate?.state !== 'closed';
  $('time').replaceChildren(...time ? [utc(time), ' UTC'] : []);

  const sums = {};
  for (const { outcomes } of lastHour ?? [])
    for (const [name, count] of Object.entries(outcomes)) sums[name] = (sums[name] ?? 0) + count;
  const tile = (name, value, note, kind = 'plain') => el('div', el('dt', name), el('dd', el(`b.${kind}`, value), el('small', note)));
  const arrival = canary?.webhookMissingSince ?? canary?.deliveredAt;
  $('tiles').replaceChildren(
    ready.value ? tile('Health', 'Ready', 'configuration and store are fine', 'good') : tile('Health', 'Not ready', ready.reason.message, 'bad'),
    !gate ? tile('Gate', '–', missing)
      : gate.state === 'open' ? tile('Gate', 'Open', 'events go to Svix', 'good')
      : tile('Gate', 'Closed', `${gate.reason}, for ${Math.ceil(gate.seconds)} s`, 'warn'),
    tile('Unresolved dead letters', number(deadLetters?.unresolved), deadLetters ? `of ${number(written)} so far` : missing, deadLetters?.unresolved ? 'warn' : 'plain'),
    !audit ? tile('Audit', '–', missing) : verdict(audit, tile, Date.parse(time)),
    ...canary || configuration?.canary_project ? [canary
      ? tile('Canary', `${number(canary.durationMs)} ms`, `arrived ${clock(arrival)} UTC`, Date.parse(time) - Date.parse(arrival) < LATE_CANARY ? 'good' : 'bad')
      : tile('Canary', 'None', 'none has arrived yet', 'warn')] : [],
    ...heldProjects?.length ? [tile('Held projects', number(heldProjects.length), heldProjects.join(', '), 'warn')] : [],
    ...configuration?.svix_webhook_secret ? [tile('Disabled endpoints', number(endpoints?.disabled.length), 'of customers, as Svix reports', endpoints?.disabled.length ? 'warn' : 'good')] : [],
    lastHour ? tile('Delivered in the last hour', number(sums.delivered ?? 0), `of ${number(sum(Object.values(sums)))} answers`) : tile('Delivered in the last hour', '–', missing));
  const outcomes = Object.entries(sums).sort((a, b) => b[1] - a[1]).map(([name, count]) => [el('td', el(`i.${name}`), name), el('td.number', number(count))]);
  if (!outcomes.length) outcomes.push([el('td.soft', lastHour ? 'nothing came' : missing), el('td')]);
  $('outcomes').replaceChildren(...outcomes.map(cells => el('tr', ...cells)));
  draw(lastHour ?? [], Date.parse(time));
  reports(endpoints ?? { disabled: [], exhausted: [] });
  $('configuration').replaceChildren(configuration
    ? facts(...Object.entries(configuration).map(([name, value]) => [name, value, value => value ? mono(value) : el('span.soft', 'empty')]))
    : el('p.soft', status.reason.status === 404 ? missing : status.reason.message));
}

// The audit's numbers, in one tile and above its findings.
function verdict({ verifiedUntil, events, oneIn, findings }, tile, now) {
  // The first two are the guarantee; the others are shown if there are any.
  const kinds = Object.keys(KINDS);
  const { pending } = findings;
  const count = sum(kinds.map(kind => findings[kind]));
  const sample = oneIn > 1 ? ` of one in ${number(oneIn)} projects` : '';
  const numbers = `${number(events)} events${sample}, ${kinds.filter((kind, place) => place < 2 || findings[kind]).map(kind => `${number(findings[kind])} ${kind}`).join(', ')}`;
  put('audited', numbers + (pending ? `, ${number(pending)} pending` : ''));
  if (count !== $('findings').tBodies[0].rows.length) loadFindings();
  return verifiedUntil ? tile('Verified until', `${clock(verifiedUntil)} UTC`, numbers, count ? 'bad' : now - Date.parse(verifiedUntil) < LATE_AUDIT ? 'good' : 'warn')
    : tile('Verified until', 'Never', 'no audit has run yet', 'warn');
}

// A bar for each minute; from the ground up what is good, then what is not.
function draw(minutes, now) {
  const svg = (tag, attributes, ...children) => {
    const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const ORDER = ['delivered', 'duplicate', 'dead-lettered'];
  const rank = ([name]) => (ORDER.indexOf(name) + 4) % 4;
  const minute = time => Math.floor(time / 60000);
  const peak = Math.max(0, ...minutes.map(({ outcomes }) => sum(Object.values(outcomes))));
  put('peak', `Answers by minute${peak ? `, at most ${number(peak)}` : ''}`);
  $('bars').replaceChildren(...minutes.map(({ minute: begin, outcomes }) => {
    const x = 590 - 10 * (minute(now) - minute(Date.parse(begin)));
    const parts = Object.entries(outcomes).sort((a, b) => rank(a) - rank(b));
    let y = 100;
    return svg('g', {},
      svg('title', {}, `${begin.slice(11, 16)} UTC: ${parts.map(([name, count]) => `${count} ${name}`).join(', ')}`),
      svg('rect', { class: 'whole', x, width: 10, height: 100 }),
      ...parts.map(([name, count]) => {
        const height = 98 * count / peak;
        return svg('rect', { class: name, x: x + 1, y: y -= height, width: 8, height });
      }));
  }));
}

on('open-gate', 'click', async () => {
  if (!await sure('Open the gate?', 'Every node asks Svix again at once. If Svix still limits or fails, the gate closes again.', 'Open', 'main')) return;
  try {
    await ask('POST', 'gate/open');
    say('gate-said', 'You have opened the gate.', 'good');
    $('status-title').focus();
  } catch (failure) {
    say('gate-said', `Opening the gate failed. ${failure.message}`, 'bad');
  }
  refresh();
});

setInterval(refresh, 10000);
document.addEventListener('visibilitychange', refresh);

// The audit

const KINDS = {
  missing: 'The record says delivered, and Svix has no such message.',
  doubled: 'Svix has two messages of the event.',
  unrecorded: 'Svix has the message, and the relay has no record.',
  unsettled: 'Svix has no message, and no sender has come back.',
  unsent: 'Svix has the message, and has not tried to send it.',
  'application-missing': 'Svix has no application of this project.',
};
const FINDING = ['Found (UTC)', 'Project', 'Event', 'Kind', 'Svix messages', ''];
$('findings').tHead.rows[0].append(...FINDING.map(name => Object.assign(el('th', name), { scope: 'col' })));

async function loadFindings() {
  try {
    // A pending one may still resolve itself, and asks nothing of an operator.
    const findings = (await ask('GET', 'audit/findings')).findings.filter(of => !of.pendingUntil);
    $('findings').hidden = !findings.length;
    $('findings').tBodies[0].replaceChildren(...findings.map(finding));
  } catch (failure) {
    say('audit-said', failure.message, 'bad');
  }
}

function finding(of) {
  const button = Object.assign(el('button.acts', of.kind === 'missing' ? 'Send again…' : 'Acknowledge…'), { onclick: () => resolve(of) });
  button.ariaLabel = `${button.textContent} ${of.eventId || of.project}`;
  const kind = [el('span.bad', of.kind), el('small', KINDS[of.kind])];
  const cells = [[utc(of.foundAt)], [of.project], [mono(of.eventId)], kind, of.svixMessageIds.map(id => el('small.mono', id)), [button]];
  return el('tr', ...cells.map((cell, column) => {
    const td = el('td', el('div', ...cell));
    td.dataset.label = FINDING[column];
    return td;
  }));
}

async function resolve({ id, kind, eventId, project }) {
  const lost = kind === 'missing';
  const [title, text, verb] = lost
    ? [`Send ${eventId} again?`, 'Its record answers no sender any more. Then publish the event again, or replay its dead letter: it is looked up in Svix first.', 'Open the record']
    : [`Acknowledge ${eventId || project}?`, 'The finding goes. Nothing is changed at Svix or in the record.', 'Acknowledge'];
  if (!await sure(title, text, verb, 'main')) return;
  try {
    const { sendAgain, deadLetter } = await ask('POST', `audit/findings/${id}/resolve`);
    say('audit-said', !sendAgain ? `${eventId || project} is acknowledged.` : deadLetter ? `Replay dead letter ${deadLetter} now.` : `Publish ${eventId} again now.`, 'good');
    $('audit-title').focus();
  } catch (failure) {
    say('audit-said', failure.message, 'bad');
  }
  await Promise.all([loadFindings(), refresh()]);
}

on('audit', 'click', async () => {
  let events = 0, found = 0, left = 0;
  $('audit').disabled = true;
  try {
    for (let done = false; !done && token;) {
      const slice = await ask('POST', 'maintenance/audit', 60);
      [events, found, done] = [events + slice.events, found + slice.found, slice.done];
      left += slice.putOff;
      const later = left + slice.listsWaiting ? `, ${number(left)} events and ${number(slice.listsWaiting)} lists later` : '';
      say('audit-said', `${number(events)} events compared, ${number(found)} new findings${later}${done ? '.' : '…'}`, found || later ? '' : 'good');
    }
  } catch (failure) {
    say('audit-said', `The audit has stopped. ${failure.message}`, 'bad');
  }
  $('audit').disabled = false;
  if (token) await Promise.all([loadFindings(), refresh()]);
});

// The reports of Svix

const DISABLED = ['Reported (UTC)', 'Project', 'Endpoint', 'Failing since (UTC)'];
const EXHAUSTED = ['Given up (UTC)', 'Project', 'Event', 'Endpoint', ''];
for (const [id, columns] of [['disabled', DISABLED], ['exhausted', EXHAUSTED]])
  $(id).tHead.rows[0].append(...columns.map(name => Object.assign(el('th', name), { scope: 'col' })));

function reports({ disabled, exhausted }) {
  $('reports').hidden = !disabled.length && !exhausted.length;
  const table = (id, columns, rows) => {
    $(id).hidden = !rows.length;
    // Drawn anew, a button would lose the focus.
    if ($(id).contains(document.activeElement)) return;
    $(id).tBodies[0].replaceChildren(...rows.reverse().map(row => el('tr', ...row.map((cell, column) => {
      const td = el('td', el('div', cell));
      td.dataset.label = columns[column];
      return td;
    }))));
  };
  table('disabled', DISABLED, disabled.map(of => [utc(of.at), of.project, mono(of.endpointId), of.failingSince ? utc(of.failingSince) : '–']));
  table('exhausted', EXHAUSTED, exhausted.map(of => {
    const button = Object.assign(el('button', 'Look up'), { onclick: () => lookUp(of.project, of.eventId), disabled: !of.eventId });
    button.ariaLabel = `Look up ${of.eventId}`;
    return [utc(of.at), of.project, mono(of.eventId ?? '–'), mono(of.endpointId), button];
  }));
}

function lookUp(project, id) {
  [$('project').value, $('event').value] = [project, id];
  $('find').requestSubmit();
  $('find-title').focus();
}

// Looking up

function dashboard() {
  const link = Object.assign(el('a', 'Svix’s dashboard'), { href: 'https://dashboard.svix.com/', target: '_blank', rel: 'noreferrer noopener' });
  // An empty svix_url stands for the region of the token.
  return svixUrl === '' || /^https:\/\/([^/]+\.)?svix\.com$/.test(svixUrl) ? [' ', link] : [];
}

const record = of => facts(
  ['State', of.state, state => el(state === 'delivered' ? 'span.good' : 'span.warn', state)],
  ['Project', of.project], ['Event', of.eventId, mono], ['Type', of.eventType],
  ['Svix message', of.svixMessageId, mono, ...dashboard()], ['Attempts', of.attempts, number],
  ['Published (UTC)', of.publishedAt, utc], ['Delivered (UTC)', of.deliveredAt, utc], ['First attempt (UTC)', of.firstAttemptAt, utc],
  ['Dead letter', of.deadLetter, opener]);

let looking = 0;
on('find', 'submit', async () => {
  const mine = ++looking;
  // A browser would resolve the id `..` in a path.
  const path = 'records' + query({ project: $('project').value.trim(), eventId: $('event').value });
  const found = await ask('GET', path).then(record, failure => el(failure.status === 404 ? 'p.said' : 'p.said.bad', failure.message));
  if (mine !== looking) return;
  $('found').replaceChildren(found);
  say('fate-said', '');
  const known = found.matches('dl');
  $('fate').hidden = !known;
  if (known) showFate($('project').value.trim(), $('event').value);
});

// The fate of an event: its way to the customer's endpoints

const ENDPOINT = ['Endpoint', 'State', 'Next attempt (UTC)', ''];
$('endpoints').tHead.rows[0].append(...ENDPOINT.map(name => Object.assign(el('th', name), { scope: 'col' })));

async function showFate(project, id) {
  const mine = looking;
  const path = `notifications/${encodeURIComponent(project)}/${encodeURIComponent(id)}/deliveries`;
  $('endpoints').hidden = $('recover').hidden = true;
  $('timeline').replaceChildren();
  try {
    const fate = await ask('GET', path);
    // Another event may be looked up by now.
    if (mine === looking) drawFate(path, project, id, fate);
  } catch (failure) {
    if (mine === looking) say('fate-said', failure.message, failure.status === 404 ? '' : 'bad');
  }
}

function drawFate(path, project, id, { record, endpoints, attempts, more, svix }) {
  const named = id => `${endpoints.find(endpoint => endpoint.id === id)?.url ?? ''} ${id}`;
  $('endpoints').hidden = !endpoints.length;
  $('endpoints').tBodies[0].replaceChildren(...endpoints.map(endpoint => endpointRow(endpoint, () => resend(path, project, id, endpoint, attempts))));
  const enabled = endpoints.filter(endpoint => !endpoint.disabled && !endpoint.deleted);
  $('recover').hidden = !enabled.length;
  $('recover-endpoint').replaceChildren(...enabled.map(({ id, url }) => Object.assign(el('option', `${url} ${id}`), { value: id })));
  $('recover-since').value = record.deliveredAt?.slice(0, 16) ?? '';
  $('recover').onsubmit = event => { event.preventDefault(); recover(project); };
  const published = record.publishedAt ? [el('li', utc(record.publishedAt), ' published')] : [];
  const stored = record.deliveredAt ? [el('li', utc(record.deliveredAt), ` stored in Svix, after ${number(record.attempts)} attempts`)] : [];
  const tried = attempts.map(of => [of.timestamp, el('li', utc(of.timestamp),
    el(LOOKS[of.status] ?? 'span.warn', ` ${of.responseStatusCode || (of.status === 'fail' ? 'no answer' : of.status)}`),
    ` after ${number(of.responseDurationMs)} ms${of.triggerType === 'manual' ? ', sent again by hand' : ''}: `, mono(named(of.endpointId)))]);
  const givenUp = (record.exhausted ?? []).map(of => [of.at, el('li', utc(of.at), el('span.bad', ' given up'), ' by Svix: ', mono(named(of.endpointId)))]);
  // Of the same moment, the attempt comes before Svix gives up.
  const later = [...tried, ...givenUp].sort(([a], [b]) => Date.parse(a) - Date.parse(b)).map(([, item]) => item);
  $('timeline').replaceChildren(...published, ...stored, ...later, ...more ? [el('li', 'There is more: only the latest 100 are shown.')] : []);
  if (svix) say('fate-said', `${svix.title}: ${svix.detail}.`, 'bad');
  else if (!endpoints.length && record.deliveredAt) say('fate-said', 'The customer has no endpoint.');
}

const LOOKS = { success: 'span.good', fail: 'span.bad' };

function endpointRow({ id, url, disabled, deleted, filterTypes, channels, status, nextAttempt }, act) {
  const button = Object.assign(el('button.acts', 'Resend…'), { onclick: act, disabled: disabled || deleted });
  button.ariaLabel = `Resend to ${url} ${id}`;
  const state = deleted ? el('span.bad', 'deleted') : disabled ? el('span.bad', 'disabled') : status === 'success' ? el('span.good', 'received') : el(status ? 'span.bad' : 'span.warn', status ?? 'never tried');
  const only = [['', filterTypes], ['channels ', channels]].filter(([, names]) => names?.length);
  const limits = only.map(([what, names]) => el('small', `only ${what}${names.join(', ')}`));
  const cells = [[mono(url), el('small.mono', id)], [state, ...limits], nextAttempt ? [utc(nextAttempt)] : ['–'], [button]];
  return el('tr', ...cells.map((cell, column) => {
    const td = el('td', el('div', ...cell));
    td.dataset.label = ENDPOINT[column];
    return td;
  }));
}

let resends = 0;
async function resend(path, project, id, { id: endpoint, url }, attempts) {
  const latest = attempts => attempts.find(of => of.endpointId === endpoint && of.triggerType !== 'scheduled')?.timestamp;
  if (!await sure(`Resend ${id}?`, `Svix sends it to ${url} now. Svix's own retries to this endpoint end with that, also if it fails.`, 'Resend', 'main')) return;
  try {
    await once('POST', `${path}/${encodeURIComponent(endpoint)}/resend`);
  } catch (failure) {
    return say('fate-said', `Resending failed. ${failure.message}`, 'bad');
  }
  say('fate-said', `Svix sends it to ${url}…`);
  $('find-title').focus();
  const turns = [looking, ++resends];
  // Svix sends from a queue, after its answer: look again until the attempt shows.
  for (const seconds of [0, 1, 2, 4, 8]) {
    await new Promise(done => setTimeout(done, seconds * 1000));
    const fate = await ask('GET', path).catch(() => undefined);
    if (!token || turns[0] !== looking || turns[1] !== resends) return;
    if (!fate || fate.svix || latest(fate.attempts) === latest(attempts)) continue;
    drawFate(path, project, id, fate);
    return say('fate-said', `Sent to ${url} again.`, 'good');
  }
  say('fate-said', `Svix has not sent it to ${url} yet. Look the event up again later.`, 'warn');
}

async function recover(project) {
  const [endpointId, missing] = [$('recover-endpoint').value, $('recover-missing').checked];
  const since = $('recover-since').value.slice(0, 16);
  const what = missing ? 'everything that was never sent to it' : 'everything again that it has failed to take';
  if (!await sure(`Recover ${endpointId}?`, `Svix sends it ${what}, since ${since.replace('T', ' ')} UTC.`, 'Recover', 'main')) return;
  try {
    const { taskId, status } = await once('POST', `projects/${encodeURIComponent(project)}/recover`, { endpointId, since: `${since}:00Z`, missing });
    say('fate-said', `Svix recovers ${endpointId}: ${taskId} is ${status}.`, 'good');
  } catch (failure) {
    say('fate-said', `Recovering failed. ${failure.message}`, 'bad');
  }
  $('find-title').focus();
}

// The list of dead letters

const COLUMNS = ['Number', 'Since (UTC)', 'Project', 'Event', 'Reason', 'State'];
const REASONS = ['invalid-event', 'too-deep', 'not-json', 'not-base64', 'not-utf8', 'content-encoded', 'binary-cloud-event', 'body-too-large', 'refused-by-svix', 'event-id-taken', 'application-missing', 'held'];
$('letters').tHead.rows[0].append(...COLUMNS.map(name => Object.assign(el('th', name), { scope: 'col' })));
$('reasons').append(...REASONS.map(name => el('option', name)));

let letters = [], next = null, listing = 0, filter = {};

async function load(more = false) {
  const mine = ++listing;
  const chosen = { ...filter, unresolved: $('unresolved').checked ? 'true' : '' };
  let [all, after] = more ? [[...letters], next] : [[], 0];
  const enough = all.length + 50;
  try {
    do {
      const page = await ask('GET', 'dead-letters' + query({ after, limit: 50, ...chosen }));
      if (mine !== listing) return;
      all.push(...page.deadLetters);
      after = page.next;
    } while (after !== null && all.length < enough);
  } catch (failure) {
    return say('said', failure.message, 'bad');
  }
  [letters, next] = [all, after];
  $('letters').tBodies[0].replaceChildren(...letters.map(row));
  $('letters').hidden = !letters.length;
  $('more').hidden = next === null;
  put('shown', letters.length ? `${number(letters.length)} shown, oldest first`
    : $('unresolved').checked ? 'No unresolved dead letters.' : 'No dead letters.');
}

function opener(n) {
  const button = el('button.link', `#${n}`);
  button.ariaLabel = `Dead letter ${n}`;
  button.onclick = () => show(n);
  return button;
}

function row(letter) {
  const cells = [
    [opener(letter.number)], [utc(letter.deadLetteredAt)], [letter.project ?? '–'],
    [letter.eventType ?? '–', el('small.mono', letter.eventId ?? '')], [letter.reason, el('small', letter.problem.detail)],
    letter.resolved ? [el('span.good', 'resolved'), el('small.mono', letter.resolved.svixMessageId)] : [el('span.warn', 'unresolved')]];
  return el('tr', ...cells.map((cell, column) => {
    const td = el('td', el('div', ...cell));
    td.dataset.label = COLUMNS[column];
    return td;
  }));
}

function choose() {
  filter = { project: $('of-project').value.trim(), reason: $('of-reason').value.trim() };
  say('said', '');
}
on('filter', 'submit', () => { choose(); load(); });
on('unresolved', 'change', () => load());
on('more', 'click', () => load(true));

// One dead letter

let shown, wanted;

async function show(n) {
  let letter;
  wanted = n;
  try {
    letter = await ask('GET', `dead-letters/${n}`);
  } catch (failure) {
    return say('said', failure.message, 'bad');
  }
  // The operator may have opened another one since.
  if (wanted !== n) return;
  shown = n;
  put('letter-title', `Dead letter ${n}`);
  put('problem', `${letter.problem.title}: ${letter.problem.detail}.`);
  const origin = facts(
    ['Reason', letter.reason], ['Since (UTC)', letter.deadLetteredAt, utc], ['Project', letter.project], ['Event', letter.eventId, mono],
    ['Type', letter.eventType], ['Source', letter.source], ['Pub/Sub message', letter.pubsubMessageId, mono],
    ['Published (UTC)', letter.publishTime, utc], ['Pub/Sub’s attempts', letter.deliveryAttempt, number]);
  const outcome = letter.resolved ? [el('h3', 'Resolved'), record({ ...letter.resolved, state: 'delivered', deadLetter: undefined })] : [];
  const attributes = Object.entries(letter.attributes ?? {}).map(([name, value]) => [name, value, mono]);
  const sent = attributes.length ? [el('h3', 'Attributes'), facts(...attributes)] : [];
  $('letter-body').replaceChildren(origin, ...outcome, ...sent, ...payload(letter));
  $('replay').hidden = !!letter.resolved;
  if ($('letter').open) return;
  say('letter-said', '');
  $('letter').showModal();
  $('letter-title').focus();
}

// The event, and the notification that it came in.
function payload({ body, bodyBase64 = '', source, resolved }) {
  if (resolved && body === undefined && !bodyBase64) return [el('p.soft', 'The notification was deleted once its event was delivered. Svix has the payload.')];
  if (body === undefined) return [el('h3', 'Notification, which is not UTF-8, in base64'), block(bodyBase64)];
  let event;
  if (source === 'wrapped') try {
    const push = JSON.parse(body);
    // A push may also be the data of a CloudEvent, and its data in either alphabet.
    const { data } = push.message ?? push.data.message;
    const bytes = Uint8Array.from(atob(data.replaceAll('-', '+').replaceAll('_', '/')), byte => byte.charCodeAt(0));
    event = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch { /* the notification has to do */ }
  const whole = block(indent(body));
  if (event === undefined) return [el('h3', 'Notification'), whole];
  return [el('h3', 'Event'), block(indent(event)), el('details', el('summary', 'Notification as it came'), whole)];
}

// The most characters that are shown of a text.
const LONGEST = 300000;

function block(text) {
  const rest = text.length - LONGEST;
  const pre = el('pre', rest > 0 ? `${text.slice(0, LONGEST)}\n… and ${number(rest)} more characters` : text);
  pre.tabIndex = 0;
  return pre;
}

// JSON on many lines. Every token stays as it is: 10.0 is not 10, and big numbers don't fit into a double.
function indent(text) {
  if (text.length > LONGEST) return text;
  try { JSON.parse(text); } catch { return text; }
  let out = '', depth = 0, opened = false;
  const line = () => '\n' + '  '.repeat(Math.min(depth, 40));
  for (const { 0: token, index } of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{},:]|[^\s"[\]{},:]+/g)) {
    if (out.length > LONGEST) return out + text.slice(index);
    const closes = token === '}' || token === ']';
    if (closes) depth--;
    // Nothing comes between the brackets of {} and [].
    if (closes !== opened) out += line();
    opened = token === '{' || token === '[';
    if (opened) depth++;
    out += token === ':' ? ': ' : token;
    if (token === ',') out += line();
  }
  return out;
}

function sure(title, text, verb, kind) {
  put('question-title', title);
  put('question-text', text);
  put('yes', verb);
  $('yes').className = kind;
  $('question').returnValue = '';
  $('question').showModal();
  $(kind === 'bad' ? 'no' : 'yes').focus();
  // The event comes a moment after the closing: it may be that of the question before.
  return new Promise(done => { $('question').onclose = () => $('question').open || done($('question').returnValue === 'yes'); });
}
for (const answer of ['yes', 'no']) on(answer, 'click', () => $('question').close(answer));

async function act(doing, method, path, done) {
  $('replay').disabled = $('discard').disabled = true;
  say('letter-said', `${doing}…`);
  try {
    await done(await ask(method, path, 120));
  } catch (failure) {
    say('letter-said', `${doing} failed. ${failure.message}`, 'bad');
  }
  $('replay').disabled = $('discard').disabled = false;
  if (token) await Promise.all([load(), refresh()]);
}

on('replay', 'click', async () => {
  const n = shown;
  if (!await sure(`Replay dead letter ${n}?`, 'It is delivered as if it had just come in, and the customer gets its webhook.', 'Replay', 'main')) return;
  await act('Replaying', 'POST', `dead-letters/${n}/replay`, async ({ status, svixMessageId }) => {
    for (const where of ['said', 'letter-said']) say(where, `Dead letter ${n} is resolved: ${status}, as ${svixMessageId}.`, 'good');
    await show(n);
  });
});

on('discard', 'click', async () => {
  const n = shown;
  if (!await sure(`Discard dead letter ${n}?`, 'Its payload is deleted for good. The event stays acknowledged: it does not come again.', 'Discard', 'bad')) return;
  await act('Discarding', 'DELETE', `dead-letters/${n}`, () => {
    say('said', `Dead letter ${n} is discarded.`);
    $('letter').close();
  });
});

on('close', 'click', () => $('letter').close());
// If the list was drawn anew, the element that had opened the letter is gone; otherwise the browser has
// focused it.
on('letter', 'close', () => {
  if (document.activeElement !== document.body && !$('letter').contains(document.activeElement)) return;
  (document.querySelector(`[aria-label="Dead letter ${shown}"]`) ?? $('letters-title')).focus();
});

// All dead letters

let cancelled;
on('cancel', 'click', () => { cancelled = true; });

on('replay-all', 'click', async () => {
  choose();
  // The filter may change while the replay runs.
  const chosen = filter;
  const which = (chosen.project && ` of the project ${chosen.project}`) + (chosen.reason && ` with the reason ${chosen.reason}`);
  if (!await sure('Replay all dead letters?', `Each one${which} that is unresolved is delivered as if it had just come in.`, 'Replay all', 'main')) return;
  let after = 0, resolved = 0, failed = 0;
  const sums = () => `${number(resolved)} resolved, ${number(failed)} can not be delivered still`;
  cancelled = false;
  $('run').hidden = false;
  $('replay-all').disabled = true;
  try {
    while (after !== null) {
      if (written) Object.assign($('progress'), { max: written, value: after });
      put('count', sums());
      if (cancelled) throw Error('Cancelled.');
      const part = await ask('POST', 'dead-letters/replay' + query({ after, limit: 20, ...chosen }), 600);
      resolved += part.resolved;
      failed += part.failed;
      if (part.stopped) throw Error(`Stopped before number ${part.next + 1}: ${part.stopped}.`);
      if (part.next !== null && part.next <= after) throw Error('Stopped: the relay gets no further.');
      after = part.next;
    }
    say('said', `Done: ${sums()}.`, failed ? 'warn' : 'good');
  } catch (failure) {
    say('said', `${failure.message} ${sums()}.`, cancelled ? '' : 'bad');
  }
  $('run').hidden = true;
  $('replay-all').disabled = false;
  if (token) await Promise.all([load(), refresh()]);
});
