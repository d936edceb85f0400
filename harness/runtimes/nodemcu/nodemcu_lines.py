"""What the harness says to a NodeMCU board: its helpers, the question for the facts, and files as lines of Lua."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from harness.runtimes.abilities import ASIDE

#: Longest line that is sent, its end included, in bytes: the board's buffer less one.
LINE_LIMIT = 255
#: Where the output of a program begins and ends, and where its error text does; long enough not to come by chance.
BEGIN, END, OVER = b"\x04hx>", b"\x04hx<", b"\x04hx."
#: The program under way. A file costs the heap nothing, and is compiled line by line.
PROGRAM = "hx_run.lua"
#: A file that has not arrived yet.
COMING = "hx_coming"
#: The two by the number under which ``_hxo`` opens them.
OPENED = {PROGRAM: 1, COMING: 2}
#: What the board is given once after each start. ``_hxo`` opens a file for writing: by a number, for a damaged name is
#: another file's, made before its echo could tell. ``_hxw`` takes a block of a file, ``_hxa`` sums a file up (length
#: and Adler-32: the language has no bit operations), ``_hxr`` runs the program within its frame, ``_hxe`` ends the
#: frame: by itself, or called by a program that goes on in callbacks and has set ``_hxwait``. The error text travels
#: with its length: noise on the line must not look like an error of the program.
HELPERS = (
    f'function _hxo(n) _hxf=file.open(n==1 and "{PROGRAM}" or n==2 and "{COMING}","w") '
    'print("\\6"..(_hxf and "open" or "shut")..".") end',
    'function _hxw(n,s) print(_hxf:write(s) and "\\6"..n.."." or "\\21") end',
    "function _hxb(n,s) _hxw(n,encoder.fromBase64(s)) end",
    "function _hxa(f) local a,b,n,s=1,0,0,f:read(128) while s do for i=1,#s do a=(a+s:byte(i))%65521 b=(b+a)%65521 end "
    'n=n+#s tmr.wdclr() s=f:read(128) end f:close() return "\\6"..n..":"..a..":"..b.."." end',
    'function _hxe(e) _hxwait=nil e=(e or ""):gsub("\\r","") print("\\4hx<"..#e..":"..e.."\\4hx.") end',
    f'function _hxr() local f,e=loadfile("{PROGRAM}") print("\\4hx>") if not f then return _hxe(e) end '
    "local o,e=xpcall(f,debug and debug.traceback or tostring) "
    "if not o then _hxe(tostring(e)) elseif not _hxwait then _hxe() end end",
)
#: Takes all files of the harness's own off the board. The filesystem has no folders: how names begin is one. What is
#: set aside there is the user's.
SWEEP = f"""
for name in pairs(file.list()) do
  if name:sub(1, 3) == "hx_" and name:sub(1, {len(ASIDE)}) ~= "{ASIDE}" then file.remove(name) end
end
"""
#: The state of LFS, where ``node.info`` knows the group (NodeMCU documentation, "node.info()" and "node.LFS").
LFS_STATE = (
    'do local l=node.info("lfs") print("\\6l "..l.lfs_base.." "..l.lfs_mapped.." "..l.lfs_size.." "..l.lfs_used.." "'
    '..tostring(node.LFS.time).." "..tostring(1/2==0.5)) end'
)
FACTS = """
local function try(f, ...) local ok, v = pcall(f, ...) return ok and v or {} end
local i = node.info and try(node.info, "sw_version") or {}
local c = node.info and try(node.info, "build_config") or {}
local l = node.info and try(node.info, "lfs") or {}
if type(i) ~= "table" then i, c, l = {}, {}, {} end
local major, minor, dev = 0, 0, 0
if not i.node_version_major then major, minor, dev = node.info() end
collectgarbage()
print("\\2" .. table.concat({
  i.git_release or (i.node_version_major and i.node_version_major .. "." .. (i.node_version_minor or 0) .. "."
    .. (i.node_version_revision or 0)) or (tostring(major) .. "." .. tostring(minor) .. "." .. tostring(dev)),
  _VERSION, 1 / 2 == 0.5 and "float" or "integer", node.heap(), l.lfs_size or c.lfs_size or 0,
  encoder and 1 or 0, (c.modules or "?"):gsub("|", "/"), i.git_branch or "?"}, "|") .. "\\3")
"""

#: Bytes as they stand in a quoted Lua string; the others are written as numbers.
_PLAIN = {byte: chr(byte) for byte in range(0x20, 0x7F)} | {0x0A: "\\n", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
_ROOM = LINE_LIMIT - len('_hxw(99999,"")\r') - 1


def text_blocks(data: bytes) -> Iterator[str]:
    """Lines, each with %d where its number belongs, whose quoted strings make up ``data``."""
    block: list[str] = []
    size = 0
    for at, byte in enumerate(data):
        text = _PLAIN.get(byte)
        if text is None:
            digit_follows = at + 1 < len(data) and 0x30 <= data[at + 1] <= 0x39
            text = f"\\{byte:03d}" if digit_follows else f"\\{byte}"
        if size + len(text) > _ROOM:
            yield '_hxw(%d,"' + "".join(block) + '")'
            block, size = [], 0
        block.append(text.replace("%", "%%"))
        size += len(text)
    if block:
        yield '_hxw(%d,"' + "".join(block) + '")'


def base64_blocks(data: bytes) -> Iterator[str]:
    step = _ROOM // 4 * 3
    for at in range(0, len(data), step):
        yield '_hxb(%d,"' + base64.b64encode(data[at : at + step]).decode() + '")'
