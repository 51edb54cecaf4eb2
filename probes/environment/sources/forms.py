"""What form a text from outside must have to stand in a report. A text of another form is not recorded.

Scrubbing what looks personal is not enough: a variable, a version or a file may hold anything, a token pasted into the
wrong place too. So each has an allow-list of forms, and what does not fit leaves only NOT_RECORDED, without a digest:
what a person can guess, a digest confirms.

Forms are regular expressions as text: compiled only for what is set on this machine.
"""

import re

NOT_RECORDED = "(not recorded)"
LONGEST = 512
"""Characters. Nothing that fits a form is longer, and matching stays quick."""


def recorded(text: str, form: str) -> str:
    """`text` if all of it, but for spaces around it, fits the form; else NOT_RECORDED. An empty text fits."""
    bare = text.strip()
    if len(text) <= LONGEST and (not bare or re.fullmatch(form, bare, re.ASCII)):
        return text
    return NOT_RECORDED


def words(*names: str) -> str:
    """Exactly these, in any case: words("on off", "auto"). A word has letters, digits, `_` and `-` only."""
    return "(?i:{})".format("|".join(" ".join(names).split()))


def listed(item: str, separators: str = r"\s,") -> str:
    """One or more of a form, between characters of `separators`."""
    return "(?:{0})(?:[{1}]+(?:{0}))*".format(item, separators)


NUMBER = r"[+-]?\d{1,12}(?:\.\d{1,6})?"
NUMBERS = listed(NUMBER)
RANGES = r"[\d\s,:-]{1,500}"
SWITCH = words("true false yes no on off t f y n") + r"|\d{1,9}"
SWITCHES = listed(SWITCH)

# -- instruction sets and processors, as compilers, libraries and the kernel spell them ---------------------------

# "_" stands for what may separate a name's parts: sse4_1, SSE4.1 and sse41 are one.
_X86 = """
    mmx sse sse2 sse3 ssse3 sse4 sse4_1 sse4_2 sse4a pni popcnt aes aesni pclmul pclmulqdq vaes vpclmulqdq avx avx2 fma
    fma3 fma4 f16c xop bmi bmi1 bmi2 lzcnt abm movbe adx sha sha_ni sha512 sm3 sm4 gfni erms fsrm rtm hle xsave xsavec
    xsaveopt xsaves osxsave cx16 cx8 cmov lahf lahf_lm sahf fxsr rdrnd rdrand rdseed prfchw tbm lwp crc32 fsgsbase
    avx512 avx512_f avx512_cd avx512_er avx512_pf avx512_bw avx512_dq avx512_vl avx512_ifma avx512_vbmi avx512_vbmi2
    avx512_vnni avx512_bitalg avx512_vpopcntdq avx512_vp2intersect avx512_bf16 avx512_fp16 avx512_4vnniw avx512_4fmaps
    avx512_knl avx512_knm avx512_skx avx512_clx avx512_cnl avx512_icl avx512_spr avx512_mic avx512_mic_e1 avx512_e1
    avx512_e2 avx512_e3 avx512_e4 avx512_e5 avx512_core avx512_core_vnni avx512_core_bf16 avx512_core_fp16
    avx512_core_amx avx512_core_amx_fp16 avx512_256 avx_vnni avx2_vnni avx2_vnni_2 avx_ifma avx_vnni_int8
    avx_vnni_int16 avx_ne_convert avx10_1 avx10_1_512 avx10_1_512_amx avx10_1_512_amx_fp16 avx10_2 avx10_2_512
    amx amx_tile amx_int8 amx_bf16 amx_fp16 x86_v2 x86_v3 x86_v4
"""
_OTHERS = """
    neon neon_fp16 neon_vfpv4 asimd asimd_hp asimd_dp asimd_fhm sve sve2 sve128 sve256 sme sme2 bf16 fp16 i8mm vsx vsx2
    vsx3 vsx4 altivec vx vxe vxe2 zvector lsx lasx rvv
"""
# Source: glibc manual, section Hardware Capability Tunables; sysdeps/x86/cpu-tunables.c
_GLIBC_PREFERENCES = """
    prefer_erms prefer_fsrm prefer_no_vzeroupper prefer_no_avx512_probing prefer_map_32bit_exec
    prefer_pminub_for_stringop avx_fast_unaligned_load avoid_short_distance_rep_movsb fast_rep_string
    fast_unaligned_load fast_unaligned_copy fast_copy_backward slow_bsf slow_sse4_2 ibt shstk
"""


def _features(*lists: str) -> str:
    names = (name.replace("_", "[_.-]?") for names in lists for name in names.split())
    return "[+-]?(?i:{})(?:_[Uu]sable)?".format("|".join(names))  # glibc before 2.33 says AVX2_Usable


FEATURE = _features(_X86, _OTHERS)
FEATURES = listed(FEATURE)
TUNED_FEATURES = listed(_features(_X86, _GLIBC_PREFERENCES), ",")

# Source: OpenBLAS driver/others/dynamic*.c, BLIS config_registry, LLVM's names of processors that people train on
PROCESSOR = words(
    "generic native host katmai coppermine northwood prescott banias atom core2 penryn dunnington nehalem westmere",
    "athlon opteron opteron_sse3 barcelona nano bobcat bulldozer piledriver steamroller excavator btver1 btver2 bdver1",
    "bdver2 bdver3 bdver4 amdfam10 zen zen2 zen3 zen4 zen5 znver1 znver2 znver3 znver4 znver5 sandybridge ivybridge",
    "haswell broadwell skylake skx skylakex skylake-avx512 knl knc cascadelake cooperlake cannonlake icelake",
    "icelake-client icelake-server tigerlake rocketlake alderlake raptorlake meteorlake arrowlake lunarlake",
    "sapphirerapids emeraldrapids graniterapids diamondrapids sierraforest x86-64 x86-64-v2 x86-64-v3 x86-64-v4",
    "armv8 armv8sve armv9sme cortexa9 cortexa15 cortexa53 cortexa55 cortexa57 cortexa72 cortexa73 cortexa76 cortexa510",
    "cortexa710 cortexx1 cortexx2 cortex-a53 cortex-a57 cortex-a72 cortex-a76 neoversen1 neoversen2 neoversev1",
    "neoversev2 neoverse-n1 neoverse-n2 neoverse-v1 neoverse-v2 falkor thunderx thunderx2 thunderx2t99 thunderx3t110",
    "tsv110 emag8180 vortex vortexm4 firestorm a64fx armsve ft2000 altra altramax ampere1 apple-m1 apple-m2 apple-m3",
    "apple-m4 power6 power7 power8 power9 power10 z13 z14 zarch_generic la264 la464 loongson3r5 loongson2k1000",
    "loongsongeneric c910v x280 riscv64_generic riscv64_zvl128b riscv64_zvl256b rv32i rv64i rv32iv rv64iv",
    "mips64_generic",
)

# -- text and time ------------------------------------------------------------------------------------------------

ENCODING = (
    r"(?i:utf[-_]?(?:8|16|32)(?:[-_]?(?:[lb]e|sig))?|(?:us-)?ascii|ansi_x3\.4-1968|646|iso[-_]?8859[-_]?\d{1,2}"
    r"|latin[-_]?\d{1,2}|koi8[-_][rtu]|euc[-_]?(?:jp|kr|cn|tw)|gb(?:2312|k|18030)|big5(?:[-_]?hkscs)?|s(?:hift)?[-_]?jis"
    r"|(?:cp|windows-|ibm)\d{3,5}|tis-?620|mac[-_]roman|mbcs)"
)
LOCALE = (
    r"(?i:C|POSIX|[a-z]{2,3}_[a-z]{2}|[a-z]{2})(?:\." + ENCODING + r")?"
    r"(?i:@(?:euro|latin|cyrillic|valencia|devanagari|iqtelif|saaho|abegede))?"
)

_REGIONS = "Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Brazil|Canada|Chile|Etc|Europe|Indian|Mexico"
_ZONES = (
    "CST6CDT Cuba EST5EDT Egypt Eire Factory GB GB-Eire Greenwich Hongkong Iceland Iran Israel Jamaica Japan Kwajalein "
    "Libya MST7MDT NZ NZ-CHAT Navajo PRC PST8PDT Poland Portugal Singapore Turkey Universal W-SU Zulu localtime"
)
_OFFSET = r"[+-]?\d{1,3}(?::\d\d){0,2}"
_RULE = r"(?:,(?:M\d{1,2}\.\d\.\d|J?\d{1,3})(?:/" + _OFFSET + r")?){2}"
_SHORT = r"(?:[A-Z]{3,5}|<[+-]?\w{2,6}>)"
# A name of the zone database, a rule of POSIX (CET-1CEST,M3.5.0,M10.5.0/3), or an abbreviation.
ZONE = (
    r":?(?:(?:posix/|right/)?(?:(?:" + _REGIONS + r"|Pacific|US)(?:/[A-Z][A-Za-z_+-]{1,20}\d{0,2}){1,2}|"
    r""
    + words(_ZONES)
    + ")|"
    + _SHORT
    + "(?:"
    + _OFFSET
    + "(?:"
    + _SHORT
    + "(?:"
    + _OFFSET
    + ")?(?:"
    + _RULE
    + ")?)?)?"
    r"|[+-]\d\d(?:\d\d)?)"
)

# -- packages -----------------------------------------------------------------------------------------------------

NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?"
COMMIT = "[0-9a-f]{6,64}"
INSTALLER = words(
    "pip uv conda mamba pixi poetry pdm hatch pipenv flit rye setuptools easy_install distribution debian dpkg apt rpm",
    "dnf yum zypper apk pacman portage nix guix spack homebrew buildout bazel pants installer",
) + r"(?: v?\d[\d.]{0,12})?"  # fmt: skip
_VERSION = (
    r"v?(?:\d{1,4}!)?\d[\d.]{0,40}(?:[-_.]?(?i:a|b|c|rc|alpha|beta|pre|preview|post|rev|r|dev|p|final)[-_.]?\d{0,14}){0,4}"
    r"(?:-\d{1,9})?"
)
# What the labels of public builds say: cu121, cpu, rocm6.0, git or NVIDIA's 29c30b1, d20240101, dfsg1, computecanada.
_LABEL_PART = (
    r"\d{1,14}|g?[0-9a-f]{7,12}|git[0-9a-f]{6,12}|d\d{8}"
    r"|(?i:cpu|cu|cuda|rocm|xpu|hip|pt|torch|tf|nv|abi|cxx11abi|cxx11abi(?:true|false)|mkl|openblas|dirty|computecanada"
    r"|zzzcolab|ubuntu|debian|dfsg|ds|fc|el)\d{0,8}|(?i:deb\d{1,2}u\d{1,3}|b\d{1,3})"
)
# A package of a distribution: 2.36-9+deb12u10, 2.35-0ubuntu3.8, 1.2.4_git20230717-r5, 2.34-100.el9_4.2.
SYSTEM_VERSION = (
    r"(?:\d{1,3}:)?\d[\d.]{0,30}(?i:[a-z]\d?)?(?:[-.+~_](?:\d[\d.]{0,15}(?i:ubuntu[\d.]{1,8})?"
    r"|(?i:deb|ubuntu|build|bpo|dfsg|ds|rc|git|nmu|really|cuda|el|fc|is|b|r)[\d.u+~]{0,12}))*"
)


def version(text: str) -> str:
    """A version as PEP 440 writes it; the local label behind "+", which is free text, only where it names a build."""
    public, plus, label = text.partition("+")
    if plus:
        return recorded(public, _VERSION) + plus + recorded(label, listed(_LABEL_PART, "._-"))
    return recorded(public, _VERSION)


def items(text: str, separators: str, form: str, value: str = "") -> str:
    """`text` with each of its items judged alone. value: the form of what follows an item's "=", or "" for none."""

    def judged(item: str) -> str:
        name, equals, content = item.partition("=") if value else (item, "", "")
        name = recorded(name, form)
        return name if name == NOT_RECORDED else name + equals + recorded(content, value)

    parts = re.split("([{}]+)".format(separators), text)
    shown, before = [judged(part) for part in parts[::2]], ["", *parts[1::2]]
    # How many texts were left out is nobody's business either: a run of them is one.
    kept = [at for at in range(len(shown)) if at == 0 or not shown[at] == shown[at - 1] == NOT_RECORDED]
    return "".join(before[at] + shown[at] for at in kept)
