"""Units as archives spell them: what the pixels hold, and how much it is."""

import pytest
from astropy import units as u

from morpheus_lite.io.zero_points import kind_of_unit, parse_unit

# What pixels hold -> the unit as astropy writes it -> spellings.
SPELLINGS = {
    "flux density": {
        "nJy": "nJy; NJY; njy; nanoJansky; nanojanskys; nano-Jansky; 1.e-9 Jy; 10**-9 Jy; 1e-9*Jy",
        "10 nJy": "10.0*nanoJansky; 10 nJy",
        "uJy": "uJy; UJY; µJy; muJy; microJy; microJansky; micro Jansky; MICROJY; uJy/pix",
        "mJy": "mJy; mjy; milliJy; mJy/pixel",
        "Jy": "Jy; JY; Jansky; JANSKY; Jy/pixel; JY/PIXEL; Jy pix-1; Jy per pixel",
        "MJy": "MJy; megaJansky",
        "1000 Jy": "kJy",
        "3.631e-06 Jy": (
            "nanomaggy; nanomaggies; Nanomaggies; NANOMAGGY; nanomaggie; nMgy; nmgy; NMGY; nmgy/pixel; AB "
            "nanomaggies; 1e-9 maggies"
        ),
        "3631 Jy": "maggy",
        "erg / (Angstrom s cm2)": (
            "erg/s/cm^2/A; erg/s/cm2/A; erg/s/cm**2/A; ergs/cm2/s/Angstrom; ERG/S/CM2/A; "
            "ERGS/CM**2/S/ANGSTROM; erg/cm2/s/Ang; erg s-1 cm-2 Angstrom-1; erg s^-1 cm^-2 AA^-1; erg / (s "
            "cm2 Angstrom); erg/(cm^2 s A); (erg/s/cm2/A); erg/sec/cm^2/Angstrom/pixel; FLAM"
        ),
        "1e-20 erg / (Angstrom s cm2)": (
            "10**(-20)*erg/s/cm**2/Angstrom; 10^-20 erg/s/cm^2/A; 10^(-20) erg/s/cm2/A; 1e-20 "
            "erg/s/cm2/Angstrom; 10-20 erg/s/cm2/Angstrom; (10**-20)*erg/s/cm2/A"
        ),
        "1e-17 erg / (Angstrom s cm2)": "1E-17 ergs/s/cm^2/Ang; 1.0E-17 erg/cm^2/s/Ang",
        "W / (um m2)": "W/m2/um; W/m^2/micron; W m-2 um-1; W/M2/UM",
        "W / (nm m2)": "W/m2/nm",
        "W / (Hz m2)": "W/m^2/Hz; W m-2 Hz-1",
        "erg / (Hz s cm2)": "erg/s/cm2/Hz; erg s-1 cm-2 Hz-1; FNU",
        "ph / (Angstrom s cm2)": "photon/s/cm2/A",
    },
    "surface brightness": {
        "MJy / sr": (
            "MJy/sr; Mjy/sr; MJY/SR; MJy sr-1; MJy sr^-1; MJy.sr-1; MJy sr**-1; MJy per sr; MJy/steradian; "
            "megaJansky/steradian; MJy / sr"
        ),
        "Jy / sr": "Jy/sr; JY/SR",
        "1000 Jy / sr": "kJy/sr",
        "mJy / arcsec2": "mJy/arcsec2",
        "uJy / arcsec2": "uJy/arcsec^2; uJy per square arcsec",
        "nJy / arcsec2": "nJy arcsec-2",
        "Jy / arcsec2": "Jy/sq arcsec",
        "3.631e-06 Jy / arcsec2": "nanomaggies/arcsec^2",
        "erg / (Angstrom s arcsec2 cm2)": "erg/s/cm2/A/arcsec2",
        "erg / (Angstrom s sr cm2)": "ergs/cm2/s/Angstrom/sr",
        "W / (sr um m2)": "W/m2/um/sr",
        "W / (Hz sr m2)": "W/m2/Hz/sr",
    },
    "rate": {
        "electron / s": (
            "e-/s; e-/sec; E-/S; e/s; E/S; e- s-1; e- per second; ELECTRONS/S; ELECTRON/S; Electrons/Sec; "
            "electrons per second; electron / s; electron s-1; electron s**-1; electrons.s-1; electron s^-1; "
            "electron/s/pixel; electrons/second/pix; e-/s/pix; [e-/s]"
        ),
        "ct / s": (
            "counts per second; count / s; COUNTS/S; counts/sec; Counts s-1; counts_per_second; ct/s; CTS/S; "
            "cts/sec; cps; CPS; count per pixel per s; counts/(s pixel); counts s^-1 pixel^-1"
        ),
        "DN / s": "DN/s; DN/S; DN/SEC; dn/sec; DN s-1; data number/s",
        "adu / s": "ADU/s; adu/sec; ADU/S; adu s-1; ADU per second",
        "ph / s": "photon/s; photons/sec; ph/s",
        "ct / min": "counts/min",
        "electron / h": "electron/hour",
    },
    "counts": {
        "ct": "count; counts; COUNTS; Counts; ct; cts; CNTS; counts/pixel",
        "adu": "ADU; adu; ADUs; adu/pix; analog-to-digital units",
        "DN": "DN; dn; data number; Digital Numbers",
        "electron": "electron; electrons; ELECTRONS; e-; E-; e; [e-]; electron/pixel; photo-electrons",
        "ph": "photon; photons",
        "1000 ct": "1000 counts",
    },
}
LOGARITHMS = (
    "mag", "MAG", "magnitudes", "ABmag", "mag(AB)", "mag/arcsec2", "mag/arcsec^2", "mag arcsec-2", "AB mag", "dex"
)  # fmt: skip
NOT_OF_LIGHT = (
    "Jy/beam", "mJy/beam", "JY/BEAM", "MJY", "mjy/sr", "K", "km/s", "deg", "s", "erg/s/cm2", "W/m2", "erg/s",
    "count/s/mm2", "electron/s/arcsec2", "bananas", "furlongs per fortnight", "no unit at all (((", "counts per",
    "1/s", "s-1", "none", "N/A", "unitless", "arbitrary", "1", "10**-20", "", "  ", None, "%", "10**(", "1e999 Jy",
    "0 Jy", "{}", "DN/mystery"
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind", "unit"),
    [
        (text, kind, unit)
        for kind, units in SPELLINGS.items()
        for unit, texts in units.items()
        for text in texts.split("; ")
    ],
)
def test_spellings_of_archives(text, kind, unit):
    found = parse_unit(text)
    assert kind_of_unit(found) == kind
    assert found.to(u.Unit(unit)) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "kind"), [*((text, "magnitude") for text in LOGARITHMS), *((text, None) for text in NOT_OF_LIGHT)]
)
def test_units_that_are_not_light(text, kind):
    assert kind_of_unit(parse_unit(text)) == kind
