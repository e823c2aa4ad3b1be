"""The digests of `programs`, by the oracle and numpy; `python tests/program_judge.py` prints them anew."""

DIGESTS = {
    "forward frozen": "501eedf497865bb62cd4c5ab30d109cf0a2be8ff938bdd3b44b3833fed13e2c6",
    "training frozen": "e357247fae57e823c08407cd30ec01f4d2a952082f3a27829524c9a71a108f6f",
    "rows frozen": "e357247fae57e823c08407cd30ec01f4d2a952082f3a27829524c9a71a108f6f",
    "forward batch": "9ebb9960469570b8cbe603a2cc64fe84f3474cff29c960a85c7f08e89ce73e63",
    "training batch": "218f122d6fbbe1c1264c69bb91a4a8932878a3ef0a2b62bb53ff90d254d54f16",
    "rows batch": "218f122d6fbbe1c1264c69bb91a4a8932878a3ef0a2b62bb53ff90d254d54f16",
    "forward fp16": "110d16a22d9871bdfe7f6217d74677511aa1386c34e31ec7705d91c02d888274",
    "training fp16": "8fb6f34fb0af7449f3d206904fc436bfcc85d349a96732d4a01ce1180bf6d995",
    "rows fp16": "8fb6f34fb0af7449f3d206904fc436bfcc85d349a96732d4a01ce1180bf6d995",
    "rows forward": "501eedf497865bb62cd4c5ab30d109cf0a2be8ff938bdd3b44b3833fed13e2c6",
    "step head bit_accurate": "8b2ff93b9f0323ce38798bcbe4f7ba90404d7eee13f54881581ccfff02f789dd",
    "step bias bit_accurate": "d5a2cf237732790bfbf90d87581b5588caa34c838c5597c3c0b83822e4c91bdc",
    "step lite_residual bit_accurate": "4db46e5b5ae3cec19ede2a6422d4a72edea558f19e236e234137ba0d9a4dab61",
    "step prompt bit_accurate": "85b94f3c7f9adfa62de436f1cab1fb669ba53f9330335837b3ffe9fa75c1bbbe",
    "step full bit_accurate": "1811d9542bfc2fa0f950a428091083c1360fc6a1b1bce4df4cd9352d8ab45e7a",
    "step full bit_accurate-fp16": "ac205df01eb9fce94372475334f886acd5ac169b0089d5a415e29fd92d23f88e",
    "step full bit_accurate-fxp8-stochastic": "3e8a60e055575bc93547b02f6e4ce1b4da71c7cddc2d0ab50a3983bb6ce815d2",
}
