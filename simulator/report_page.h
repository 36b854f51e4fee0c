// The fixed parts of the report page: style for light and dark, and the few lines of script that read a chart under the
// pointer.
#pragma once

#include <string_view>

namespace shoal::simulator {

inline constexpr std::string_view kReportStyle = R"css(
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#14181f;--soft:#5b6472;--rule:#e3e7ec;--axis:#aab2bd;
--s0:#0b6bcb;--s1:#d9480f;--s2:#2b8a3e;--s3:#9c36b5;--s4:#b08900;--s5:#0c8599;--s6:#c2255c;--s7:#5f6b7a}
@media(prefers-color-scheme:dark){:root{--bg:#0f1318;--card:#171c23;--ink:#e8ecf1;--soft:#98a2b0;--rule:#28303a;--axis:#566070;
--s0:#5aa9f5;--s1:#ff8a4c;--s2:#5fc97a;--s3:#d58bea;--s4:#e5bd3c;--s5:#47c3d6;--s6:#f578a4;--s7:#a8b3c1}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
main{max-width:1240px;margin:0 auto;padding:32px 24px 64px}
header{margin-bottom:24px}
h1{font-size:24px;line-height:1.25;margin:0;font-weight:650;letter-spacing:-.01em}
h2{font-size:17px;margin:40px 0 12px;font-weight:650}
header p{margin:4px 0 0;color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(118px,1fr));gap:10px;margin-bottom:20px}
.tile{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:10px 14px}
.tile span{display:block;color:var(--soft);font-size:13px}
.tile b{font-size:19px;white-space:nowrap;font-weight:620;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.legend{display:flex;flex-wrap:wrap;gap:6px 20px;margin:0 0 14px;padding:0;list-style:none}
.swatch{display:inline-block;width:14px;height:4px;border-radius:2px;vertical-align:middle;margin-right:8px;background:currentColor}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:16px}
.card{background:var(--card);border:1px solid var(--rule);border-radius:10px;margin:0;padding:14px 14px 8px;position:relative}
figcaption{font-weight:600;margin:0 4px 6px}
svg{display:block;width:100%;height:auto;overflow:visible}
.grid{stroke:var(--rule)}.axis{stroke:var(--axis)}
.tick,.label{fill:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.cursor{stroke:var(--axis);stroke-dasharray:3 3;visibility:hidden}
.empty{color:var(--soft);padding:48px 0;text-align:center;margin:0}
.line.s0{stroke:var(--s0)}.line.s1{stroke:var(--s1)}.line.s2{stroke:var(--s2)}.line.s3{stroke:var(--s3)}
.line.s4{stroke:var(--s4)}.line.s5{stroke:var(--s5)}.line.s6{stroke:var(--s6)}.line.s7{stroke:var(--s7)}
.end.s0{fill:var(--s0)}.end.s1{fill:var(--s1)}.end.s2{fill:var(--s2)}.end.s3{fill:var(--s3)}
.end.s4{fill:var(--s4)}.end.s5{fill:var(--s5)}.end.s6{fill:var(--s6)}.end.s7{fill:var(--s7)}
.c0{color:var(--s0)}.c1{color:var(--s1)}.c2{color:var(--s2)}.c3{color:var(--s3)}
.c4{color:var(--s4)}.c5{color:var(--s5)}.c6{color:var(--s6)}.c7{color:var(--s7)}
.tip{position:absolute;pointer-events:none;background:var(--ink);color:var(--bg);border-radius:6px;padding:6px 10px;font-size:12.5px;
line-height:1.45;white-space:nowrap;z-index:2;font-variant-numeric:tabular-nums}
.table{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:10px}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:8px 14px;border-bottom:1px solid var(--rule);white-space:nowrap;font-variant-numeric:tabular-nums}
thead th{color:var(--soft);font-weight:600;font-size:13px}
tbody tr:last-child>*{border-bottom:0}
tbody th{font-weight:600}
td.n,th.n{text-align:right}
code{font:13px ui-monospace,"SF Mono",Menlo,"Liberation Mono",monospace}
details{margin-top:12px}summary{cursor:pointer;color:var(--soft);padding:4px 0}
footer{margin-top:40px;color:var(--soft);font-size:13px}
@media(max-width:520px){main{padding:20px 14px 40px}}
)css";

inline constexpr std::string_view kReportScript = R"js(
for(const figure of document.querySelectorAll("figure")){
  const svg=figure.querySelector("svg"),data=figure.querySelector("script");
  if(!svg||!data)continue;
  const all=JSON.parse(data.textContent),cursor=svg.querySelector(".cursor"),width=svg.viewBox.baseVal.width;
  const tip=document.createElement("div");tip.className="tip";tip.hidden=true;figure.append(tip);
  svg.addEventListener("pointermove",event=>{
    const box=svg.getBoundingClientRect(),at=(event.clientX-box.left)*width/box.width;
    const nearest=s=>s.p.reduce((a,b)=>Math.abs(b[2]-at)<Math.abs(a[2]-at)?b:a);
    const x=all.map(nearest).reduce((a,b)=>Math.abs(b[2]-at)<Math.abs(a[2]-at)?b:a);
    cursor.setAttribute("x1",x[2]);cursor.setAttribute("x2",x[2]);cursor.style.visibility="visible";
    tip.replaceChildren();
    const row=text=>{const line=document.createElement("div");line.textContent=text;tip.append(line);return line};
    row("at "+x[0]);
    for(const s of all){
      const line=row(" "+s.n+"  "+nearest(s)[1]),mark=document.createElement("span");
      mark.className="swatch c"+s.c;line.prepend(mark);
    }
    tip.hidden=false;
    const left=x[2]*box.width/width+svg.offsetLeft;
    tip.style.left=(left+tip.offsetWidth+20>figure.clientWidth?left-tip.offsetWidth-10:left+12)+"px";
    tip.style.top="44px";
  });
  svg.addEventListener("pointerleave",()=>{tip.hidden=true;cursor.style.visibility="hidden"});
}
)js";

}  // namespace shoal::simulator
