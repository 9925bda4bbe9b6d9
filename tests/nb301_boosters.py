"""Two small members of an ensemble, pickled by XGBoost 1.2.1 (zlib, base85), with that version's own predictions.

They were trained by the benchmark's settings (`reg:squarederror`, `gbtree`, early stopping) on 56 features of
genotypes with made-up accuracies, in the version that pickles what the published archive holds.
"""

SPECS = (
    "sepconv3x3~0|sepconv3x3~1+dilconv5x5~1|skip~2+avgpool3x3~0|skip~1+maxpool3x3~2|maxpool3x3~4;"
    "maxpool3x3~0|dilconv3x3~1+sepconv5x5~0|sepconv5x5~1+dilconv5x5~1|maxpool3x3~3+sepconv5x5~0|avgpool3x3~1",
    "skip~0|sepconv5x5~1+avgpool3x3~0|avgpool3x3~2+maxpool3x3~0|sepconv3x3~3+skip~0|sepconv5x5~3;"
    "maxpool3x3~0|skip~1+sepconv3x3~0|sepconv3x3~1+dilconv3x3~0|maxpool3x3~3+avgpool3x3~0|dilconv3x3~4",
    "avgpool3x3~0|avgpool3x3~1+avgpool3x3~0|avgpool3x3~2+dilconv5x5~0|dilconv3x3~1+skip~3|skip~4;"
    "dilconv3x3~0|dilconv5x5~1+skip~0|sepconv3x3~2+sepconv5x5~1|maxpool3x3~2+sepconv3x3~0|dilconv5x5~1",
    "dilconv3x3~0|skip~1+sepconv3x3~0|avgpool3x3~2+maxpool3x3~0|avgpool3x3~3+sepconv5x5~3|dilconv3x3~4;"
    "dilconv3x3~0|dilconv3x3~1+sepconv3x3~1|sepconv5x5~2+skip~1|maxpool3x3~2+sepconv5x5~2|avgpool3x3~3",
    "avgpool3x3~0|sepconv5x5~1+sepconv3x3~0|dilconv3x3~1+dilconv5x5~1|dilconv5x5~3+dilconv5x5~1|maxpool3x3~2;"
    "sepconv3x3~0|sepconv3x3~1+avgpool3x3~1|dilconv3x3~2+maxpool3x3~1|sepconv5x5~2+dilconv3x3~0|dilconv3x3~1",
)

MEMBERS = (
    (
        "c-rk(e~27c9UqhX-AfuUX#-Y>D>WC{Ty|$?FL#&QyW2V15L#;+ENG8&@^<F!?xeFb)0wxIT&@Qjwa~PSz0fHX)Oszph)Qi@P)T#="
        "iT{+)mbRoVRU<_ae;`t&!J<h0zVE!<nVn1VACV{>*f;b2zVGLKf4tAU`EH}@vAG=*Ud_Sdm6GH5Y*=?Z8Z>)VE>JIcG}v=8SPF)k"
        "Jyl{G7EJY(>ZZj^+Yg%kr3FTb=aB`lQ}6nyB+Y#Gj$02M-0PIfK4s%O2Ex@#rd^h#=he|rls*#sZIb@G*EVtYXl2~LuTDH_P|tI`"
        "9-*(4m`CYm5#6<V@z}19$)ndmOz*?h+R-6NYDm(qX?Se#T6V#2Aks<Q@at*YEl&fk(F<~4m>1~Qr}$d^Ax_vyQ?Pd9I(Qgtuh*F7"
        "{<gqxYYYoM8}EyY`?DU|UDzyQZ0Y{~%;Cwdgx%u1KjgX&yWd||nCwp2T`<4A)}63>_u!MOJqf$u;Hzsr2|H!q+}dB?K3{~WXa0El"
        "wF1{ooY@0)Ij7#V`pP7i*PnP|N|J6@FP^%*#^oFKeH`RI_0nCVIKOgo5ac6j<8uR3Ty}pt#P2E{d>rj1cgKVzJzo6GBdMQ6JM``1"
        "zNa28MDm@*n;-uEWF%+Q^8C)JNS-eK>C`u3^A8rk+Wm{QNOp@W<(>}t&hl`~Ut?N2{NuI%9lowl#rb-Dq-*mv#?3ZgTfC0*wWZt0"
        "*IgZaZSg<J*FBeCo=Ecb+_#=CB>Aem_47iKuU9^Qasywt+^lcl>)9KZHt@BQdbE(_>!;s7xBB9?1HjK4XMXj@*N{Jlw|#Gl^Yuqx"
        "P>~<Me)<&1Ol9oCDl(<#9k4UhGwwRtAIY8tyDoL2>nz%TX=ppxZ&w$-a|rpNytxee^<v@d=@>s>DgLdLj>+#8r~3!ud@X)g8;Qx!"
        "6=#AsC*%Bm=+J76pDz@*|KYXONM0%4J$9uK=j%)7Z)o#%%Qer}Bmee%jd8Qh*AUz2IA2@5-jv|Ov$yYB<NjJ4{-E>q!QH>xz*p;="
        "+G>)o&wT2)6G^^aUcOXF@^HO(Wi`pepS@n67(ekG@Mdsk_SU`$uDfYx0rvZnYTf-6+(+Z|fk}Q&rr+C*`?&DVCqPcC?93O@{=!Th"
        "<ong-k6kRpd2-;f2he`yH_sM0kG?Ly8skZq`j?gInEkHezI)Ec=69+OU70Mzc~<&lHpau{;>FqSwGN*B^2Led{&tJ|R&g&;pJ^sE"
        "VT75E-Ref<zW8*_uWT3ctUT90PprLO&8Op;;mrQgOnxA4>+{yGg$@mrv0fq9DDzC+Z^ghDInXZzr*xF+%$%pU2*qN`CN-KGPbHhE"
        "RGO<a%kh29B_64z#urn*PAsaqj;|e~W~IsimrX4#Ev78!9c}7yn+k;oQ;$H@CM7`8<1XlH)Mmuej{1(R`5+U^Jb^`lr83~N;?_0O"
        "0AX)dNG_>R%{Na_VPR{a_1nTxr_>f$)uY4^k_Sz$Q`3A#7{xf#DW6g!_NYNX(XI#>)ZH`y62?zq)(^9UXgp$=5WiLmJ8H}pdrXaa"
        "#I&Q7?RpIb%c7RX4TM)0s%z>Dsym({b>^VT(J9oJEx6pupk-3G7);>05J1)8G1KEj=i0i<gX8#$=N!{?$EuNgsh4)Wx=o{bsO^0p"
        "U;~MWEe~Vo#c-)^mQAQgd-*c4d>V7N*tr&0w4Rg6J1)}<YWtL1w`!NLA(mSuqT)Kyt5gG&C=#H2QgeYar3H)5Q|l^v+cD@>)Ui^F"
        "LTZNTamM5RB1>UTFtSVut9w*~%<8UbS42FNVPwN28N6hL6Oq(vt$48zu49?{0&bYgs>e*9*U_{&na~^LZu^)t<NSe1i_}U65z%2J"
        ";8OEKc6NHJk>eWt(E`1k9}zOFR|c1?jSzZ+T8se8soSB1pg_(E8QjfNKW5;Af4v%J&O^%J1niJrH7z50yK_SAyOzoDFla5}*bZ}S"
        "n#gl#51t!kkNQ>awJh@GM@f9o@o0$`1h<eEq|NxcZI&Ic#^>&(41%RDIv>u+W8syH=I|Bf^+Gli56H(41HbB6cpePPna&G+Vp0^|"
        "_&N#SNoo<F!P#X~mKGVBI=8HsLXL%76}lfCg`<zZ!2GQOPJc-84=MitNO4Yb@qO27KuRm(c!@w1*o**bY&e&{g*)Y6KONk(zsn#C"
        "B7z3CJGNlrrD=azqmPqe`bgy#+j%lt*yD)x4a_q7q_&%!tF<-YTQo?i@!1q_j#6_SkpD<W1YYK$bHI0UHk+2y*}0|Qf#7h^>=h{n"
        "&7LsDpt+^>mU72_Fc%CpH<dF13|T(Ne8}-Z;X|GeBYfD;hfzL^1<lRnYzD_Hjxvrp92Fe%IF8`BAIDJ~5i28BMy!lj8L={AWyH#e"
        "l@Ti=Rz_?Nu{p%%5Sv464zW4J<`A1hY!0zG#43nY5UU_oL9BvU1+fZZ6~rotRS=s;Y#y<B#O4v3M{GVH(5SM!yYhoOngdb$92}hb"
        "!9TkGeE*?;Hn(>6=fQ28n%huiV-seXHIoImZLXJw{{^{(uIc",
        (93.8602523803711, 93.59437561035156, 92.712890625, 93.9661865234375, 92.712890625),
    ),
    (
        "c-rk(Z;0H+6_@XPcfM=Rbsa<8_KVqIINR&Zp0sP<t+RJ0`5#U~YK|BRuF;L8*<IOMN!Do3cXlqmLfxkArZrTB#DP!}+?b@4d?;yS"
        "vlk~M{m?e4>ox>RAt7xbp-l*-4Gy?X-#kext>S(tl#-MPcBJ>_{obFMpGI$&SAYMd4FX>6n-=Pt<1oLVJ01<%LkbtD7kn?+^3`A|"
        "7;6tUh;3LfwMJ{1mT%fDXb)?PJ|&(<7Qs$=ZoMGv{?gt14(#9V)M||Sl{3Skcg?hGf^bQh2t{F4>enayZ?ARH-J|siJKiE5HK^w~"
        "-e9D!YraQmf0W(F_2RjWrsRo_K~5jS74PVnAS?^QrWtr#=4-hcej|xa7=Yhk*Y4~L;FgC#UIV|+qVDoE_ca{iB0FIkd@p|n9&YOT"
        "o15v2V)KjpK3crG0x_4<x~<oLcYA-v?$w9)Os&q?tslL_bv<_f{Q17Afs9?@=DC%Dj9q<pqBDH@yetSCcklY(T9xbGdtnLceOdXO"
        "aCwT$*EX&Pd5<#t=9LvLpV>S;EeLs~{r)J<Z~E&_kX_}0^&`_<{>5)@h5I%6%CD@IWTnr_Umm;d*+hOze(B!vY9i0c(yNb6C2~=j"
        "eEo~liM%ZT_Wb#&wEV-17gPRSSvdDl=aa*;xgMUy{7LgH=3bg-V>jSgY}c3B?{_aPtnhd-_u?2?o_*yit7dstuRYYs@@&=Ifohg#"
        "d;W58YA|DW?v<gH!K}Zh`>Qt}aG>VV-Q?Ky+qv!!4@^P5SC!(nRk*Lk?>-OrbxQH?3%IZM{OLN#Usv9sCy^&Vd2u7yZ&WtCb3Da^"
        "P4d3|zefA9TQ7kAihO8qKE;bU<*wU)nc`Vde)5SAJ82#XR~}EzKP69m;m0Ze7i7WEQvQB0bLh<B>L-V1$f^IBXDMCJKHl-Sx2v3I"
        "G52DBX`Y2~pPI???7|C^yRtkReQa|zdrtlFzFR(WPHp|X(D?|@j(?|;<=HE<4|X28|JzXC+TFD+n~`VtJo*gm=Yz@z&s@ZPqksMe"
        "$X`?Ly8j8}LEgOs^aquZrwb__T$ZcvE69Vhzn_Ks&*W{Fw;>O<p58FU&%cY0tm~wC(ti2eu0*~jzdrP>l)r=W=KJnl>EZ3^L!Gp}"
        "(0Hek$TPC`+CMtk{T+zzYoohHnXj7A^bp^4?D*?1u1QZfSv~5Qgu~*I;dx?h_nM4WiiP5&C`lt}TgF?d7#$jjJBK2<Nqx`MS)2oR"
        "vMcJA1V=kcb>Ez)dn3iEoK2cESIK3YmRz2zRLfyZb%{rsxyq>=(}_h@*J0`jYStS*;Kp-HOQ&)c^lCQsxJ{kHgQ+JVY7-4mbioCE"
        "liEJ9)T7L?RR%J#%#*k%;Hn5Q>uyUm4G^}EN0LkGRAuH#8d=yXXjxY{>S$fTZ+Mg#k>o*B=`>a56Q4sxP%%o4)T0UsCA$*AVBJjv"
        "AYuL#W?5JzWaAOTg#1-4>|n84?CDhBBc`2{Y`2;ySQfQZZh$WGITu#f)O}dpN{+OA2UU(vVU7Joms=UMMp~8+6X+KbXgEA)x<GWU"
        "ZMi%-j<0*p2~~HjCOJmEyz8}Wn#{x69{)EsP)M}pVeWh}T&kNj6IP__zD6uYQ{hha`r?ZCIa|Er`l>-~M!9vob{QLDxeXGnxK8v2"
        "RRI+(5}+7qx<DCi(W3Lzx`Ezy40;1~YN?}zR1MSPjK}>&mcm@b$QmVn%cCk()^bg|9_2%Q%&f4Zh?iL6L?q2-oG&hf>sY3~h#Thm"
        "jT0v0>uB1XOc)Jnw;2}gbN;}jMVgvHqU<me2&sA@JA0!w$$|=hY&ccRJ0cnU)gYwbMMQdoT0Q}mQ@2M6Nr5ayGK8C_EM>qTzTOBc"
        "=P4C&0(MAmn3j>e-BP4xu4Vdo7{pE-+wmQnX6hW<g6BrfqpZQB)}ng(QIg(sJX+EVf?LQJq|5l0ZPpyG$>)wyACjdm1}_xF$?%er"
        "IedlVR~uLc<l~0{Yd9932L-X%dtpp0iozS;BH=qpEy8>_yKL&`qY6!(Teh^2W8qeX;U^~G=;JRif2)AgpHlo&ivK@SoRd8IzN<|j"
        "rIm18Baj6)BY>JLNaejeDF6ED5T^TG200=kXkfcj4l^%J_sg1moD7p8m1DN^V$`t5iToQ_W%5bwHaRzHYan*iAmu8DbG$jq9qEDm"
        "S2`kyG7p^tzLST?^J0Gd$Wm}7m<`%PQHeo&Ff1`>kH&8)56pri!C1SmRt#Vm=Yz-xi4P?{l=-lO4?FoV!H3D9-Cr9o;y8|@h@*sK"
        "3CA*yJ8;~I;{=X~6%i{URz$3bSP`)zVnxJ?h!qhlB344Igjfl&5@IF9N{E#ZD<M`wtc2JSVoQiEA-06r5@Jh;Eg`mq*b-t(h%F<w"
        "jMy?_%ZM!_wp<Qqva-CpV!_?*k)(YN_D}!x(UpO3{;1Pl+uNT9clNc{p~}W4%rcv%AKcmB(hC0qy<3a+",
        (93.89923095703125, 93.58836364746094, 92.69862365722656, 93.96530151367188, 92.69862365722656),
    ),
)
