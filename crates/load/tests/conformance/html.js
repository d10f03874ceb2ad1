// `k6/html`: Selection and Element.
import { parseHTML } from 'k6/html';
import { row } from './row.js';

const TAGS = 'a area base button canvas data datalist del embed fieldset form iframe img input ins keygen label legend li link map meta meter object ol optgroup option output param pre progress q quote script select source style table tbody td textarea tfoot th thead time title tr track ul video audio col div'.split(' ');
const inTable = { td: 'table', th: 'table', tr: 'table', tbody: 'table', thead: 'table', tfoot: 'table', col: 'table' };

const PAGE = `<!DOCTYPE html>
<html lang="en"><head><title>The page</title><link rel="a b" href="/l"><meta name="m" content="c"><base href="http://base.test/" target="_top"></head>
<body class="main big" id="body">
<!-- a comment -->
<h1 id="top" data-level="1" data-deep-name='{"a":1}' data-yes="true" data-text="007" data-none="null">Hello <b>world</b> &amp; all</h1>
<ul id="list"><li class="one x">first</li><li class="two">second</li><li class="three x" data-n="3">third &lt; last</li></ul>
<ol><li>A</li><li value="7">B</li><li>C</li></ol>
<form id="form" action="/send" method="post" name="f" target="_self" novalidate accept-charset="utf-8" autocomplete="off" enctype="text/plain">
<label for="who">Who</label><input type="text" id="who" name="who" value="me" maxlength="9" size="5" placeholder="name" readonly required tabindex="2" accesskey="w" list="names" pattern="a*" min="1" max="3" step="1">
<input type="checkbox" name="on" checked><input type="checkbox" name="on2" value="yes" checked><input type="checkbox" name="off">
<input type="radio" name="r" value="1"><input type="radio" name="r" value="2" checked><input type="hidden" name="h" value="hid">
<input type="text" name="novalue"><input type="text" name="disabled" value="d" disabled><input value="nameless">
<input type="submit" name="go" value="Send" formaction="/go" formmethod="post"><button name="btn" value="v" type="button" disabled autofocus>Press <i>me</i></button>
<select name="choice" id="choice"><optgroup label="G" disabled><option value="1">One</option></optgroup><option value="2" selected>Two</option><option label="L">Three</option></select>
<select name="many" multiple><option value="a" selected>A</option><option value="b" selected>B</option><option>C</option></select>
<select name="noneselected"><option value="x">X</option><option value="y">Y</option></select>
<textarea name="long" rows="4" cols="20" wrap="hard">some words</textarea>
<fieldset name="fs" form="form"><legend>Legend</legend><input name="inner" value="i"></fieldset>
<datalist id="names"><option value="n1"><option value="n2"></datalist><output name="out" for="a b">7</output>
<progress max="10" value="4">p</progress><meter min="1" max="9" low="2" high="8" optimum="5" value="3">m</meter><keygen name="k">
</form>
<a id="link" href="http://user:pw@host.test:81/a/b?q=1#frag" rel="x y" target="t" type="text/html" hreflang="de" download="d">a <span>link</span></a>
<area href="https://host.test:443/x" alt="al" coords="1,2" shape="rect">
<img src="i.png" alt="pic" width="10" height="20" usemap="#map" ismap crossorigin="anonymous"><map name="map"><area></map>
<table><caption>Cap</caption><thead><tr><th abbr="ab" scope="col">H</th></tr></thead><tbody><tr><td colspan="2" rowspan="3" headers="h1 h2">1</td><td>2</td></tr></tbody></table>
<canvas width="30"></canvas><iframe src="s" name="fr" width="1" height="2"></iframe><object data="o" type="t" form="form"></object><param name="pn" value="pv">
<video src="v.mp4" controls autoplay loop muted></video><audio src="a.mp3" preload="none"></audio><source src="so" media="m"><track kind="k" label="tl" srclang="sl" default>
<time datetime="2020">then</time><del cite="c" datetime="d">x</del><ins cite="c2">y</ins><data value="dv">data</data><embed src="e" type="et"><q cite="qc">q</q><script src="js" async>code()</script><style media="print">.a{}</style>
<p>one<p>two</p><div id="empty"></div>
</body></html>`;
const texts = (selection) => selection.map((index, item) => `${index} ${item.text()}`);
const names = (selection) => { const all = []; selection.each((index, element) => { all.push(`${element.nodeName()}${element.id() ? `#${element.id()}` : ''}`); }); return all; };

export default function () {
  const doc = parseHTML(PAGE);
  const list = doc.find('#list li');
  row('html.parseHTML html.Selection.find', () => [doc.find('title').text(), list.size(), doc.find('li.x').size(), doc.find('ul > li:first-child').text(), doc.find('h1, title').size(), doc.find('[data-n="3"]').size(), doc.find('li:not(.x)').size(), doc.find('a[href^=http]').size(), doc.find('nothing').size()]);
  row('html.parseHTML', () => [parseHTML('<b>part</b> text').find('body').html(), parseHTML('').html(), parseHTML('<ul><li>a<li>b</ul>').find('li').size(), parseHTML('<p>a<div>b</div>').find('body').html()]);
  row('html.selectors', () => ['li:nth-child(2)', 'li:last-child', 'li:nth-child(odd)', 'ul + ol', 'ul ~ a', 'li:contains(sec)', 'form:has(select)', 'option:nth-of-type(1)', 'input[type=text]', '[class~=x]', '[lang|=en]', '[id$=st]', '[id*=is]', ':empty', 'li:first-of-type', 'p:only-child', 'h1 b', '*', 'INPUT', 'li.two.two', 'ul li.x ~ li', 'body > *', 'option[selected]', ':root'].map((selector) => { try { return doc.find(selector).size(); } catch (error) { return 'threw'; } }));
  row('html.Selection.add', () => [list.add('h1').size(), list.add(doc.find('title')).size(), list.add(list).size()]);
  row('html.Selection.attr', () => [list.attr('class'), list.attr('none'), list.attr('none', 'default'), doc.find('nothing').attr('x')]);
  row('html.Selection.children', () => [doc.find('#list').children().size(), texts(doc.find('#list').children('.x')), names(doc.find('form').children())]);
  row('html.Selection.closest', () => [names(doc.find('b').closest('body')), names(doc.find('li').closest('ul')), doc.find('b').closest('nothing').size(), names(list.closest('li'))]);
  row('html.Selection.contents', () => [doc.find('h1').contents().size(), names(doc.find('h1').contents()), doc.find('#link').contents().text()]);
  row('html.Selection.data', () => { const h1 = doc.find('h1'); return [h1.data('level'), h1.data('deepName'), h1.data('deep-name'), h1.data('yes'), h1.data('text'), h1.data('none'), h1.data('missing'), h1.data(), doc.find('nothing').data('x')]; });
  row('html.Selection.each', () => { const seen = []; list.each((index, element) => { seen.push([index, element.textContent()]); }); return seen; });
  row('html.Selection.end', () => [list.first().end().size(), doc.find('li').filter('.x').end().size()]);
  row('html.Selection.eq', () => [list.eq(1).text(), list.eq(-1).text(), list.eq(9).size()]);
  row('html.Selection.filter', () => [texts(list.filter('.x')), texts(list.filter((index, item) => index === 1)), texts(list.filter(doc.find('.two'))), list.filter((index, item) => item.text() === 'first').size()]);
  row('html.Selection.first html.Selection.last', () => [list.first().text(), list.last().text(), doc.find('nothing').first().size()]);
  row('html.Selection.get', () => [list.get(0).textContent(), list.get(-1).textContent(), list.get(9), list.get().length]);
  row('html.Selection.has', () => [names(doc.find('h1, ul').has('b')), names(doc.find('h1, ul').has(doc.find('li')))]);
  row('html.Selection.html', () => [doc.find('h1').html(), doc.find('#empty').html(), doc.find('nothing').html(), list.html()]);
  row('html.Selection.index', () => [list.last().index(), doc.find('.two').index('li'), list.index(doc.find('.three')), doc.find('nothing').index()]);
  row('html.Selection.is', () => [list.is('.two'), list.is('ul'), list.is((index, item) => index === 2), list.is(doc.find('.one')), list.eq(0).is('.two')]);
  row('html.Selection.map', () => [texts(list), list.map((index, item) => item.attr('class')), list.map((index, item) => index)]);
  row('html.Selection.next html.Selection.prev', () => [list.first().next().text(), list.last().prev().text(), list.last().next().size(), texts(list.next('.two')), texts(list.prev())]);
  row('html.Selection.nextAll html.Selection.prevAll', () => [texts(list.first().nextAll()), texts(list.last().prevAll()), texts(list.first().nextAll('.x')), texts(list.last().prevAll('.one'))]);
  row('html.Selection.nextUntil html.Selection.prevUntil', () => [texts(list.first().nextUntil('.three')), texts(list.last().prevUntil('.one')), texts(list.first().nextUntil(doc.find('.three'))), texts(list.first().nextUntil('.three', '.x')), list.first().nextUntil().size()]);
  row('html.Selection.not', () => [texts(list.not('.x')), texts(list.not((index, item) => index === 0)), texts(list.not(doc.find('.one')))]);
  row('html.Selection.parent', () => [names(list.parent()), names(list.parent('ol')), names(doc.find('b, span').parent())]);
  row('html.Selection.parents', () => [names(doc.find('b').parents()), names(doc.find('b').parents('body'))]);
  row('html.Selection.parentsUntil', () => [names(doc.find('b').parentsUntil('body')), names(doc.find('b').parentsUntil('html', 'h1')), names(doc.find('b').parentsUntil(doc.find('html')))]);
  row('html.Selection.siblings', () => [texts(list.eq(1).siblings()), texts(list.eq(1).siblings('.one')), list.siblings().size()]);
  row('html.Selection.size', () => [list.size(), doc.size()]);
  row('html.Selection.slice', () => [texts(list.slice(1)), texts(list.slice(0, 1)), texts(list.slice(-1)), texts(list.slice(1, -1))]);
  row('html.Selection.text', () => [list.text(), doc.find('h1').text(), doc.find('#empty').text(), doc.find('nothing').text(), doc.find('script').text()]);
  row('html.Selection.toArray', () => list.toArray().map((item) => item.text()));
  row('html.Selection.val', () => ['#who', '[name=on]', '[name=on2]', '[name=novalue]', '#choice', '[name=many]', '[name=noneselected]', 'textarea', 'option', 'button', 'h1', 'nothing', 'li'].map((selector) => doc.find(selector).val()));
  row('html.Selection.serialize', () => doc.find('form').serialize());
  row('html.Selection.serializeArray', () => doc.find('form').serializeArray());
  row('html.Selection.serializeObject', () => doc.find('form').serializeObject());

  const h1 = doc.find('h1').get(0);
  const ul = doc.find('#list').get(0);
  const body = doc.find('body').get(0);
  const name = (element) => (element === undefined || element === null ? element : element.nodeName());
  row('html.Element.nodeName html.Element.nodeType html.Element.nodeValue', () => [h1.nodeName(), h1.nodeType(), h1.nodeValue(), h1.firstChild().nodeName(), h1.firstChild().nodeType(), h1.firstChild().nodeValue(), body.childNodes()[1].nodeType(), body.childNodes()[1].nodeName(), body.childNodes()[1].nodeValue()]);
  row('html.Element.id html.Element.className html.Element.classList', () => [h1.id(), h1.className(), h1.classList(), body.className(), body.classList(), doc.find('b').get(0).id()]);
  row('html.Element.getAttribute html.Element.hasAttribute html.Element.hasAttributes', () => [h1.getAttribute('id'), h1.getAttribute('none'), h1.hasAttribute('id'), h1.hasAttribute('none'), h1.hasAttributes(), doc.find('b').get(0).hasAttributes()]);
  row('html.Element.attributes html.Element.getAttributeNode', () => { const all = h1.attributes(); const node = h1.getAttributeNode('id'); return [Object.keys(all).sort(), all.id.name, all.id.value, node.name, node.value, Object.keys(node).sort(), h1.getAttributeNode('none')]; });
  row('html.Element.textContent html.Element.innerHTML html.Element.toString', () => [h1.textContent(), h1.innerHTML(), h1.toString(), h1.firstChild().toString(), h1.firstChild().innerHTML()]);
  row('html.Element.children html.Element.childNodes html.Element.childElementCount html.Element.hasChildNodes', () => [ul.children().map(name), h1.childNodes().map(name), ul.childElementCount(), ul.hasChildNodes(), doc.find('#empty').get(0).hasChildNodes(), doc.find('#empty').get(0).children()]);
  row('html.Element.firstChild html.Element.lastChild html.Element.firstElementChild html.Element.lastElementChild', () => [name(h1.firstChild()), name(h1.lastChild()), name(h1.firstElementChild()), name(ul.lastElementChild()), name(doc.find('#empty').get(0).firstElementChild())]);
  row('html.Element.nextSibling html.Element.previousSibling html.Element.nextElementSibling html.Element.previousElementSibling', () => [name(h1.nextSibling()), name(h1.previousSibling()), name(h1.nextElementSibling()), name(h1.previousElementSibling()), name(ul.previousElementSibling())]);
  row('html.Element.parentElement html.Element.parentNode html.Element.ownerDocument', () => [name(h1.parentElement()), name(h1.parentNode()), name(doc.find('html').get(0).parentElement()), name(doc.find('html').get(0).parentNode()), name(h1.ownerDocument()), h1.ownerDocument().nodeType()]);
  row('html.Element.querySelector html.Element.querySelectorAll html.Element.matches', () => [name(h1.querySelector('b')), h1.querySelector('nothing'), ul.querySelectorAll('.x').map((one) => one.textContent()), ul.matches('ul'), ul.matches('li')]);
  row('html.Element.getElementsByClassName html.Element.getElementsByTagName', () => [ul.getElementsByClassName('x').map((one) => one.textContent()), body.getElementsByTagName('b').map(name), body.getElementsByTagName('nothing')]);
  row('html.Element.contains html.Element.isEqualNode html.Element.isSameNode', () => [body.contains(h1), h1.contains(body), h1.contains(h1), h1.isSameNode(doc.find('#top').get(0)), h1.isSameNode(ul), h1.isEqualNode(doc.find('#top').get(0)), h1.isEqualNode(ul)]);
  row('html.Element.lang html.Element.namespaceURI html.Element.isDefaultNamespace html.Element.selection', () => [doc.find('html').get(0).lang(), h1.lang(), h1.namespaceURI(), h1.isDefaultNamespace(), h1.selection().find('b').text()]);
  const values = (selector, ...members) => { const element = doc.find(selector).get(0); return members.map((member) => { if (typeof element[member] !== 'function') return `no ${member}`; let value; try { value = element[member](); } catch (error) { return 'threw'; } const one = (v) => (v !== null && typeof v === 'object' && typeof v.nodeName === 'function' ? `<${v.nodeName()}>` : v); return Array.isArray(value) ? value.map(one) : one(value); }); };
  row('html.AnchorElement', () => values('#link', 'href', 'hash', 'host', 'hostname', 'origin', 'password', 'pathname', 'port', 'protocol', 'rel', 'relList', 'search', 'target', 'text', 'type', 'username', 'hrefLang', 'download', 'accessKey', 'referrerPolicy'));
  row('html.AreaElement', () => values('area', 'href', 'hash', 'host', 'hostname', 'origin', 'password', 'pathname', 'port', 'protocol', 'rel', 'relList', 'search', 'target', 'username', 'alt', 'coords', 'shape', 'download', 'media', 'text'));
  row('html.BaseElement html.LinkElement html.MetaElement html.TitleElement', () => [values('base', 'href', 'target'), values('link', 'href', 'rel', 'relList', 'crossOrigin', 'hreflang', 'hrefLang', 'media', 'referrerPolicy', 'type'), values('meta', 'name', 'content', 'httpEquiv'), values('title', 'text')]);
  row('html.ButtonElement', () => values('button', 'name', 'value', 'type', 'disabled', 'autofocus', 'form', 'formAction', 'formEnctype', 'formMethod', 'formNoValidate', 'formTarget', 'labels', 'accessKey', 'tabIndex'));
  row('html.InputElement', () => values('#who', 'name', 'value', 'type', 'checked', 'disabled', 'form', 'labels', 'list', 'maxLength', 'min', 'max', 'multiple', 'pattern', 'placeholder', 'readonly', 'required', 'size', 'src', 'step', 'tabIndex', 'accessKey', 'accept', 'alt', 'autocomplete', 'autofocus', 'defaultChecked', 'defaultValue', 'dirName', 'height', 'width', 'formAction', 'formEnctype', 'formMethod', 'formNoValidate', 'formTarget'));
  row('html.InputElement', () => [values('[name=on]', 'checked', 'value', 'type', 'defaultChecked'), values('[name=novalue]', 'value', 'list', 'maxLength', 'size', 'tabIndex'), values('[name=go]', 'formAction', 'formMethod')]);
  row('html.SelectElement html.OptionElement html.OptGroupElement html.DataListElement', () => [values('#choice', 'name', 'value', 'length', 'multiple', 'options', 'selectedIndex', 'selectedOptions', 'size', 'type', 'form', 'labels', 'disabled', 'required', 'autofocus'), values('[name=many]', 'type', 'selectedIndex', 'selectedOptions', 'value'), values('option', 'value', 'text', 'index', 'disabled', 'selected', 'defaultSelected', 'label', 'form'), values('optgroup', 'label', 'disabled'), values('datalist', 'options')]);
  row('html.TextAreaElement html.FieldSetElement html.LabelElement html.LegendElement html.OutputElement html.KeygenElement', () => [values('textarea', 'name', 'value', 'defaultValue', 'rows', 'cols', 'length', 'type', 'wrap', 'form', 'labels', 'maxLength', 'placeholder', 'readonly', 'required', 'tabIndex', 'accessKey', 'autofocus', 'disabled'), values('fieldset', 'name', 'type', 'form', 'elements', 'disabled', 'validity'), values('label', 'control', 'form', 'htmlFor'), values('legend', 'form', 'accessKey', 'value'), values('output', 'name', 'value', 'defaultValue', 'htmlFor', 'form', 'labels', 'type')]);
  row('html.FormElement', () => values('form', 'name', 'action', 'method', 'target', 'enctype', 'encoding', 'acceptCharset', 'autocomplete', 'noValidate', 'elements', 'length'));
  row('html.ImageElement html.CanvasElement html.MapElement', () => [values('img', 'src', 'alt', 'width', 'height', 'useMap', 'isMap', 'crossOrigin', 'currentSrc', 'longDesc', 'name', 'sizes', 'srcset'), values('canvas', 'width', 'height'), values('map', 'name', 'areas')]);
  row('html.parseHTML html.Selection.html', () => ['<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>', '<table><thead><tr><th>a</thead><tr><td>x<td>y<tr><td>z</table>', '<table><td>1</table>', '<table><col><tr><td><p>in<b>bold<td>next</table>', '<table><tr><td><table><tr><td>inner</table><td>outer</table>', '<td>no table</td><tr>', '<html><body>no head</body></html>', '<a href=1>x<a href=2>y', '<textarea>\n&lt;b</textarea><pre>\nfirst</pre>'].map((text) => parseHTML(text).html()));
  row('html.TableElement html.TableRowElement html.TableCellElement html.TableSectionElement html.TableColElement html.TableHeaderCellElement', () => [values('table', 'caption', 'tHead', 'tFoot', 'tbodies', 'rows', 'thead', 'tfoot', 'sortable'), values('tr', 'cells', 'rowIndex', 'sectionRowIndex'), values('td', 'cellIndex', 'colSpan', 'rowSpan', 'headers'), values('th', 'abbr', 'scope', 'sorted', 'cellIndex'), values('tbody', 'rows')]);
  row('html.MediaElement html.SourceElement html.TrackElement', () => [values('video', 'src', 'autoplay', 'controls', 'loop', 'muted', 'defaultMuted', 'preload', 'crossOrigin', 'currentSrc', 'mediaGroup', 'poster', 'width', 'height'), values('audio', 'src', 'preload'), values('source', 'src', 'media', 'type', 'keySystem'), values('track', 'kind', 'label', 'srclang', 'src', 'default', 'srcLang')]);
  row('html.LiElement html.OListElement html.UListElement html.PreElement html.QuoteElement', () => [values('ol li', 'value'), doc.find('ol li').map((index, item) => item.get(0).value()), values('#list li', 'value'), values('ol', 'reversed', 'start', 'type'), values('q', 'cite'), values('ul', 'type')]);
  row('html.ModElement html.TimeElement html.DataElement html.ProgressElement html.MeterElement', () => [values('del', 'cite', 'datetime'), values('ins', 'cite', 'datetime'), values('time', 'datetime'), values('data', 'value'), values('progress', 'max', 'value', 'position', 'labels'), values('meter', 'min', 'max', 'low', 'high', 'optimum', 'value', 'labels')]);
  row('html.IFrameElement html.ObjectElement html.ParamElement html.EmbedElement html.ScriptElement html.StyleElement', () => [values('iframe', 'src', 'name', 'width', 'height', 'allowfullscreen', 'referrerPolicy'), values('object', 'data', 'type', 'form', 'name', 'height', 'width', 'tabIndex', 'typeMustMatch', 'useMap'), values('param', 'name', 'value'), values('embed', 'src', 'type', 'width', 'height'), values('script', 'src', 'async', 'text', 'type', 'charset', 'crossOrigin', 'defer', 'noModule'), values('style', 'media', 'type')]);
  const common = new Set(members(body));
  for (const tag of TAGS) {
    const outer = inTable[tag];
    const element = parseHTML(`${outer === undefined ? '' : `<${outer}>`}<${tag}></${tag}>`).find(tag).get(0);
    row('html.Element.of-kind', () => [tag, members(element).filter((member) => !common.has(member)).map((member) => { const value = element[member](); return [member, value !== undefined && value.nodeName ? value.nodeName() : value]; })]);
  }
}

/** The functions that an element has. */
function members(element) {
  const all = new Set();
  for (let at = element; at && at !== Object.prototype; at = Object.getPrototypeOf(at)) Object.getOwnPropertyNames(at).forEach((member) => all.add(member));
  return [...all].filter((member) => !['constructor', 'page', 'resolved'].includes(member) && typeof element[member] === 'function').sort();
}
