"""The style of every page. Colours are variables, so that both schemes and paper share all else."""

LIGHT = {
    "page": "#ffffff",
    "text": "#1b1f24",
    "muted": "#545d68",
    "line": "#d4d9df",
    "box": "#f5f6f8",
    "link": "#0b57a4",
    "good": "#155d37",
    "good-box": "#e5f3ea",
    "warn": "#744700",
    "warn-box": "#fcf1d8",
    "bad": "#9c1c19",
    "bad-box": "#fceae8",
}
DARK = {
    "page": "#14171a",
    "text": "#e3e6ea",
    "muted": "#a3acb6",
    "line": "#353c44",
    "box": "#1d2125",
    "link": "#86b8f0",
    "good": "#9bdab0",
    "good-box": "#15351f",
    "warn": "#f2cd84",
    "warn-box": "#3d2e0c",
    "bad": "#ffb3aa",
    "bad-box": "#4a1d1a",
}


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:72rem;padding:2rem 1.5rem 4rem;background:var(--page);
color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{margin:.2rem 0 .6rem;font-size:1.7rem;line-height:1.25}
h2{margin:2.6rem 0 .8rem;font-size:1.2rem}
h3{margin:0 0 .6rem;font-size:1.05rem}
h1,h2,h3,p,dd,li,td,tbody th,code{overflow-wrap:anywhere}
p{margin:.5rem 0;max-width:48rem}
a{color:var(--link)}
ul{margin:.5rem 0;padding-left:1.3rem}
.unbroken{white-space:nowrap}
.brand,.small{color:var(--muted);font-size:.87rem}
.lead{font-size:1.05rem}
code,pre{font:.87em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
pre{margin:.4rem 0 1rem;padding:.7rem .9rem;overflow-x:auto;background:var(--box);
border:1px solid var(--line);border-radius:4px}
.badge{display:inline-block;padding:0 .5em;border:1px solid;border-radius:3px;background:var(--box);
color:var(--text);font-size:.85rem;font-weight:600;white-space:nowrap}
.good{background:var(--good-box);color:var(--good)}
.warn{background:var(--warn-box);color:var(--warn)}
.bad{background:var(--bad-box);color:var(--bad)}
.said{margin:.6rem 0;padding:.6rem .9rem;border-left:4px solid var(--line);max-width:none}
.said.bad{border-color:currentColor}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(19rem,1fr));
gap:.5rem 2rem;margin:.8rem 0}
dt{color:var(--muted);font-size:.87rem}
dd{margin:0}
table{width:100%;margin:.4rem 0 1.2rem;border-collapse:collapse;font-size:.93rem}
caption{padding:.4rem 0;text-align:left;font-weight:600}
th,td{padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top}
thead th{color:var(--muted);font-size:.87rem;font-weight:600}
tbody th{font-weight:400}
article{margin:1.2rem 0;padding:1rem 1.2rem .2rem;border:1px solid var(--line);border-radius:6px}
.quiet{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media screen and (max-width:44rem){
body{padding:1.2rem 1rem 3rem}
dl{grid-template-columns:1fr}
article{padding:.8rem .8rem 0}
table,tbody,tr,th,td{display:block}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
caption{display:block}
tr{padding:.5rem 0;border-bottom:1px solid var(--line)}
th,td{padding:.1rem 0;border:0}
tbody th{font-weight:600}
td::before{content:attr(data-of) ": ";color:var(--muted);font-size:.87rem}
td:empty{display:none}
}
@media print{
html{font-size:11.5px}
body{max-width:none;padding:0;font-size:.95rem}
dl div,tr,.said,pre{break-inside:avoid}
h2,h3,caption,thead{break-after:avoid}
article{border-width:1px 0 0;border-radius:0;padding:1rem 0 0}
pre{white-space:pre-wrap}
thead{display:table-header-group}
}
"""

CSS = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}{RULES}"
)
