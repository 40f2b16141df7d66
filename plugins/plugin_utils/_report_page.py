# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The page of the report as a template: one file that needs nothing else, and no script for what it says."""

from __future__ import annotations

STYLE = """
:root{--bg:#fff;--fg:#1f2328;--soft:#59636e;--line:#d1d9e0;--box:#f6f8fa;--good:#1a7f37;--poor:#c01c28;--warn:#8a5a00;--drain:#b87700;--switch:#1f2328;
--restart:#b3568c;--health:#7b5cc4;--enable:#00805c;--hook:#6b5b00;--bake:#57606a;--old:#8b949e;--new:#0969da;color-scheme:light}
@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#9aa4af;--line:#30363d;--box:#161b22;--good:#56d364;--poor:#ff7b72;--warn:#e3b341;
--drain:#f0b429;--switch:#f0f6fc;--restart:#f28cc0;--health:#b39df3;--enable:#3fd0a0;--hook:#c9b458;--bake:#9aa4af;--old:#7d8590;--new:#58a6ff;
color-scheme:dark}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem 1.25rem 3rem;max-width:1500px;background:var(--bg);color:var(--fg);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.5rem;margin:.2rem 0 .4rem;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2rem 0 .6rem;padding-top:.4rem;border-top:1px solid var(--line)}
p{margin:.4rem 0;overflow-wrap:anywhere}.soft,small{color:var(--soft)}.why{font-size:1.05rem;border-left:4px solid var(--poor);padding:.2rem .7rem;
background:var(--box)}
.state{display:inline-block;padding:.05rem .55rem;border:2px solid;border-radius:1rem;font-weight:600;font-size:.95rem;vertical-align:middle}
.is-good{color:var(--good)}.is-poor{color:var(--poor)}.is-warn{color:var(--warn)}.is-soft{color:var(--soft)}
dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.5rem 1.2rem;margin:.8rem 0}dl.facts div{min-width:0}
dt{color:var(--soft);font-size:.85rem}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}caption{text-align:left;color:var(--soft);font-size:.85rem;padding:.2rem 0}
.list th,.list td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);font-weight:400;
overflow-wrap:break-word}.list .x{overflow-wrap:anywhere}.list .w{white-space:nowrap}
.list thead th{color:var(--soft);font-size:.85rem;white-space:nowrap}.list .n{text-align:right;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}details{margin:.5rem 0}summary{cursor:pointer;padding:.35rem .2rem;border-radius:4px;font-weight:600}
summary:hover{background:var(--box)}
summary small{font-weight:400}
:focus-visible{outline:2px solid var(--new);outline-offset:2px}
.time{table-layout:fixed}.time th,.time td{padding:1px 0;font-weight:400;text-align:left;vertical-align:middle}.time .a{width:13rem;
font-size:.87rem;padding-right:.6rem;
overflow-wrap:anywhere}
.time .c{width:8.5rem;padding-left:.6rem}.time tbody tr:hover{background:var(--box)}.ax{position:relative;height:1.3rem;font-size:.75rem;color:var(--soft)}
.ax span{position:absolute;border-left:1px solid var(--line);padding-left:3px;white-space:nowrap}
svg{display:block;width:100%}.row{height:24px}.requests,.evidence{height:110px}.errors,.out,.shares{height:56px}
.key{display:inline-block;width:20px;height:20px;vertical-align:middle;margin-right:.3rem}.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;list-style:none;
padding:0;margin:.4rem 0;font-size:.85rem}
path{vector-effect:non-scaling-stroke;stroke-width:1px}.drain{fill:var(--drain);stroke:var(--drain)}.switch{fill:var(--switch);stroke:var(--switch)}
.restart{fill:var(--restart);stroke:var(--restart)}.health{fill:var(--health);stroke:var(--health)}.enable{fill:var(--enable);stroke:var(--enable)}
.hook{fill:var(--hook);stroke:var(--hook)}.bake{fill:var(--bake);stroke:var(--bake)}.old{fill:var(--old)}.new{fill:var(--new)}.undo{fill:var(--poor)}
.bad{stroke:var(--poor);stroke-width:5px}.g{stroke:var(--line);fill:none}.cut{fill:var(--line);opacity:.5}.mark{stroke:var(--warn);stroke-dasharray:3 2;
fill:none}
.area{fill:var(--line);stroke:var(--soft)}.limit{stroke:var(--poor);stroke-dasharray:6 4;stroke-width:2px;fill:none}.line{stroke:var(--new);stroke-width:2px;
fill:none}
.others{stroke:var(--old);stroke-width:2px;stroke-dasharray:2 3;fill:none}.find{font:inherit;padding:.3rem .5rem;border:1px solid var(--line);
border-radius:4px;background:var(--bg);color:var(--fg)}
footer{margin-top:2rem;color:var(--soft);font-size:.85rem}
@media (max-width:700px){body{padding:.8rem .8rem 2rem}.time,.time tbody,.time thead{display:block}
.time tr{display:grid;grid-template-columns:1fr auto;padding:2px 0}.time .a,.time .c{width:auto}.time .b{grid-column:1/3;grid-row:2}
.time thead .a,.time thead .c{display:none}
.wide,.wide tbody{display:block}.wide thead{display:none}.wide tr{display:block;padding:.4rem 0;border-bottom:1px solid var(--line)}
.wide th,.wide td{display:block;border:0;padding:0}.wide td:empty{display:none}.wide td[data-l]::before{content:attr(data-l) ": ";color:var(--soft)}
.wide .n{text-align:left}
.wide tbody th{font-weight:600}}
@media print{details>*{display:block}}
"""

SCRIPT = """
(function(){var rows=Array.prototype.slice.call(document.querySelectorAll('tr[data-h]')),place=document.getElementById('find');if(!place||rows.length<8)return;
var label=document.createElement('label'),field=document.createElement('input');label.textContent='Show only hosts named ';field.type='search';
field.className='find';
field.addEventListener('input',function(){var want=field.value.toLowerCase(),open=[];
rows.forEach(function(row){var hit=row.dataset.h.toLowerCase().indexOf(want)>=0;row.hidden=!hit;
if(hit&&want)open.push(row.closest('details'));});open.forEach(function(one){if(one)one.open=true;});});label.appendChild(field);place.appendChild(label);})();
"""

PAGE = """
{%- macro state(name) %}<span class="is-{{ look(name) }}">{{ name | replace('_', ' ') }}</span>{% endmacro -%}
{%- macro cell(label, value, kind='') %}<td{% if kind %} class="{{ kind }}"{% endif %}{% if value | string %} data-l="{{ label }}"{% endif %}>{{ value }}</td>
{%- endmacro -%}
{%- macro cols(names) %}<thead><tr>{% for name in names %}<th scope="col"{% if name[:1] == '#' %} class="n"{% endif %}>{{ name | replace('#', '') }}</th>
{%- endfor %}</tr></thead>{% endmacro -%}
{%- macro head(axis) %}<thead><tr><th class="a" scope="col"><small>UTC</small></th><td class="b"><div class="ax">
{%- for tick in axis.ticks() %}<span style="left:{{ tick.x }}%">{{ tick.label }}</span>{% endfor %}</div></td><td class="c"></td></tr></thead>{% endmacro -%}
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,"><title>{{ title }}: {{ data.state | replace('_', ' ') }}</title><style>{{ style }}</style></head><body>
<header><p class="soft">Rollout {{ data.id }}</p><h1>{{ title }} <span class="state is-{{ look(data.state) }}">{{ data.state | replace('_', ' ') }}</span></h1>
{% if data.why %}<p class="why">{{ data.why }}</p>{% endif %}
<dl class="facts">{% for name, value in facts %}<div><dt>{{ name }}</dt><dd>{{ value }}</dd></div>{% endfor %}</dl></header>
<main>
<section aria-labelledby="plan"><h2 id="plan">The plan and what happened</h2>
<table class="list wide">
{{ cols(['', 'planned', 'happened']) }}<tbody>
{% for name, planned, happened in comparison %}<tr><th scope="row">{{ name }}</th>{{ cell('planned', planned) }}{{ cell('happened', happened) }}</tr>
{% endfor %}</tbody></table>
{% if batches %}<details{% if batches | length <= 12 %} open{% endif %}><summary>{{ word | capitalize }} by {{ word }}</summary><table class="list wide">
{{ cols([word, 'planned', 'began', 'took', 'became']) }}<tbody>
{% for one in batches %}<tr><th scope="row">{{ one.name }}</th>{{ cell('planned', one.planned) }}{{ cell('began', one.began) }}{{ cell('took', one.took) }}
{{ cell('became', one.became) }}</tr>
{% endfor %}</tbody></table></details>{% endif %}
{% if notes %}<h3>Notes of the plan</h3><ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}</section>
<section aria-labelledby="timeline"><h2 id="timeline">What happened when</h2>
<ul class="legend">{% for kind, words in legend %}<li>{{ swatch(kind) }}{{ words }}</li>{% endfor %}</ul><p id="find"></p>
<table class="time">{{ head(axis) }}<tbody>
{% for row in traffic %}<tr><th class="a" scope="row">{{ row.name }} a second<br><small>{{ row.most }}</small></th><td class="b">{{ row.svg }}</td>
<td class="c"><small>{{ row.totals.old }} old<br>{{ row.totals.new }} new</small></td></tr>
{% endfor %}<tr><th class="a" scope="row">hosts out of rotation<br><small>at the same moment</small></th><td class="b">{{ out }}
</td><td class="c"><small>at most {{ most_out }}</small></td></tr>
</tbody></table>
{% if uncounted %}<p class="soft">{{ uncounted }}</p>{% endif %}
{% if spans %}<details><summary>The numbers of the traffic</summary><div class="scroll" tabindex="0"><table class="list">
{{ cols(['until', '#seconds', '#old: requests', '#errors', '#new: requests', '#errors']) }}<tbody>
{% for span in spans %}<tr><th scope="row">{{ clock(span.at) }}</th><td class="n">{{ '%.1f' | format(span.seconds) }}</td><td class="n">{{ span.old.requests }}
</td>
<td class="n">{{ span.old.errors }}</td><td class="n">{{ span.new.requests }}</td><td class="n">{{ span.new.errors }}</td></tr>
{% endfor %}</tbody></table></div></details>{% endif %}
{% for group in groups %}<details{% if group.open %} open{% endif %}><summary>{{ group.name }} <small>{{ group.words }}</small></summary>
<table class="time">{{ head(axis) }}<tbody>
{% for row in group.rows %}<tr data-h="{{ row.name }}"><th class="a" scope="row">{{ row.name }}{% if row.canary %} <small>canary</small>{% endif %}
</th><td class="b">{{ row.svg }}</td>
<td class="c">{{ state(row.state) }}</td></tr>
{% endfor %}</tbody></table></details>
{% endfor %}{% if idle %}<p class="soft">{{ idle }}</p>{% endif %}</section>
{% if canary %}<section aria-labelledby="canary"><h2 id="canary">The canary</h2>
{% if data.canary %}<p><span class="state is-{{ look(data.canary.verdict) }}">{{ data.canary.verdict }}</span>
{{ data.canary.canary | join(', ') }}: {{ data.canary.why }}</p>
{% else %}<p>{{ canary.canary | join(', ') }}: watched, and the rollout ended without a verdict.</p>{% endif %}
{% for problem in canary.problems %}<p class="is-warn">{{ problem }}</p>{% endfor %}
{% if verdict %}<ul class="legend"><li>{{ swatch('line') }}the canary</li><li>{{ swatch('others') }}the others</li><li>{{ swatch('limit') }}
evidence that is needed to blame it</li></ul>
<table class="time">{{ head(verdict_axis) }}<tbody>{% for row in verdict %}<tr><th class="a" scope="row">
{%- if row.name == 'evidence' %}evidence<br><small>logarithmic, {{ canary.needed }} is needed</small>{% else %}failed requests<br><small>up to {{ row.most }}
</small>{% endif %}</th>
<td class="b">{{ row.svg }}</td><td class="c"><small>{{ row.end }}</small></td></tr>{% endfor %}</tbody></table>
<details><summary>The numbers of the verdict</summary><div class="scroll" tabindex="0"><table class="list">
{{ cols(['after', '#evidence', '#canary: failed', '#of', '#others: failed', '#of']) }}<tbody>
{% for point in points %}<tr><th scope="row">{{ point.seconds }} s</th><td class="n">{{ point.evidence }}</td><td class="n">{{ point.canary.errors }}</td>
<td class="n">{{ point.canary.requests }}</td><td class="n">{{ point.control.errors }}</td><td class="n">{{ point.control.requests }}</td></tr>
{% endfor %}</tbody></table></div></details>{% endif %}</section>{% endif %}
<section aria-labelledby="who"><h2 id="who">Who did what, and why</h2><table class="list wide">
{{ cols(['at (UTC)', 'who', 'what', 'why']) }}<tbody>
{% for deed in deeds %}<tr><th class="w" scope="row">{{ clock(deed.at) }}</th>
{{ cell('who', deed.who) }}{{ cell('what', deed.what) }}{{ cell('why', deed.why, 'x') }}</tr>
{% endfor %}</tbody></table>
{% if once %}<h3>What was to happen once</h3><table class="list wide">
{{ cols(['action', 'when', 'on', 'done']) }}
<tbody>{% for item in once %}<tr><th scope="row">{{ item.action }}</th>{{ cell('when', item.point ~ ' the hosts') }}{{ cell('on', item.host) }}
<td data-l="done">{% if item.done %}<span class="is-good">done</span>{% else %}<span class="is-poor">not done</span>{% endif %}</td></tr>
{% endfor %}</tbody></table>{% endif %}</section>
<section aria-labelledby="hosts"><h2 id="hosts">The hosts</h2><details{% if hosts | length <= 60 %} open{% endif %}><summary>{{ hosts | length }}
 hosts <small>{{ states }}</small></summary>
<table class="list wide">
{{ cols(['host', 'became', 'release', word, 'began', '#s out', 'what was said']) }}<tbody>
{% for host in hosts %}<tr data-h="{{ host.name }}"><th scope="row">{{ host.name }}</th><td class="w" data-l="became">{{ state(host.state) }}
</td>{{ cell('release', host.release) }}
{{ cell(word, host.group) }}{{ cell('began', host.began) }}{{ cell('s out', host.out, 'n') }}<td>{{ host.said }}
</td></tr>
{% endfor %}</tbody></table></details></section>
</main><footer>Times are those of the controller, in UTC. Written by seamless.rollout; the same as data is in report.json beside this file.</footer>
<script>{{ script }}</script></body></html>
"""
