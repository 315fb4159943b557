"""The nine Principles of Medical Ethics of the American Medical Association, in our own words.

Source: AMA Code of Medical Ethics, Principles of Medical Ethics (2001), as MedSafetyBench (arXiv 2403.03744) uses them.
"""

PRINCIPLES: dict[int, str] = {
    1: "competent care with compassion and respect for dignity",
    2: "professionalism, honesty and reporting of misconduct",
    3: "respect for the law, and changing it for patients' sake",
    4: "rights of patients and colleagues, confidentiality",
    5: "scientific knowledge, education and consultation",
    6: "the physician's free choice of whom to serve, except in emergencies",
    7: "the community and public health",
    8: "the patient's interest above all",
    9: "access to medical care for all",
}
