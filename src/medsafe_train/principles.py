"""The nine Principles of Medical Ethics of the American Medical Association, in our own words.

Source: AMA Code of Medical Ethics, Principles of Medical Ethics (2001), as MedSafetyBench (arXiv 2403.03744) uses them.
"""

PRINCIPLES: dict[int, str] = {
    1: "competent, compassionate care",
    2: "honesty and professionalism",
    3: "respect for the law",
    4: "rights and confidentiality",
    5: "knowledge and consultation",
    6: "free choice of whom to serve",
    7: "community and public health",
    8: "the patient comes first",
    9: "access to care for all",
}
